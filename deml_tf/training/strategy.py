"""From flags and TF_CONFIG to the `tf.distribute` strategy of a training."""

import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.training.cluster import Cluster

STRATEGIES = ("auto", "one", "mirrored", "multiworker")


def build_strategy(
    kind: str = "auto", logical_cpus: int | None = None, cluster: Cluster | None = None
) -> tf.distribute.Strategy:
    """Build the strategy; call it before anything else of TensorFlow runs.

    Args:
        kind: "one" device; "mirrored", all GPUs of this machine or the logical CPUs;
            "multiworker", those of all machines of the cluster; "auto", multiworker
            with several machines, else mirrored with several GPUs or with logical CPUs,
            else one.
        logical_cpus: Devices that the CPU is divided into if there is no GPU, each a
            replica: no gain in speed, but every sum over replicas as with GPUs.
        cluster: This machine among others, from `read_cluster`.

    Returns:
        The strategy. With several workers this waits until all of them are up.

    Raises:
        UsageError: The strategy needs what is not there, or is built too late.
    """
    cluster = cluster or Cluster()
    kind = _checked(kind, logical_cpus, cluster)
    if logical_cpus:
        _cut_cpu(logical_cpus)
    if kind == "multiworker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        names = [f"CPU:{n}" for n in range(logical_cpus or 0)]
        return tf.distribute.MirroredStrategy(names or None)
    return tf.distribute.get_strategy()


def check_shares(
    replicas: int, classes_per_batch: int, images_per_class: int, pairs: str
) -> None:
    """Refuse batches that the replicas cannot share evenly.

    Args:
        replicas: The training's number of replicas, on all machines.
        classes_per_batch: P.
        images_per_class: K.
        pairs: "global", or "replica", which requires that no class is torn apart.

    Raises:
        UsageError: They cannot share them.
    """
    size = classes_per_batch * images_per_class
    if size % replicas:
        raise UsageError(
            f"classes_per_batch={classes_per_batch} x images_per_class="
            f"{images_per_class} are {size} images, which {replicas} replicas cannot "
            f"share evenly: give classes_per_batch a multiple of {replicas}."
        )
    if pairs == "replica" and classes_per_batch % replicas:
        raise UsageError(
            f"pairs=replica would tear classes apart, for classes_per_batch="
            f"{classes_per_batch} is no multiple of the {replicas} replicas: give such "
            "a multiple, or pairs=global."
        )


def _checked(kind: str, logical_cpus: int | None, cluster: Cluster) -> str:
    """Return the kind that "auto" stands for here; refuse an impossible one."""
    gpus = tf.config.list_physical_devices("GPU")
    if kind not in STRATEGIES:
        raise UsageError(f"strategy={kind!r}: use one of {', '.join(STRATEGIES)}.")
    if logical_cpus and gpus:
        raise UsageError(
            f"logical_cpus={logical_cpus} is for machines without a GPU, and this one "
            f"has {len(gpus)}: leave it out."
        )
    if kind == "auto":
        several = len(gpus) > 1 or logical_cpus
        kind = "mirrored" if several else "one"
        kind = "multiworker" if cluster.size > 1 else kind
    if kind == "one" and logical_cpus:
        raise UsageError(
            f"logical_cpus={logical_cpus} is not for strategy=one: leave it out, or "
            "use strategy=mirrored."
        )
    if kind == "mirrored" and not (gpus or logical_cpus):
        raise UsageError(
            "strategy=mirrored finds no GPU on this machine: use strategy=one, or "
            "logical_cpus=2 to try two replicas on the CPU."
        )
    if kind == "multiworker" and cluster.size < 2:
        raise UsageError(
            "strategy=multiworker needs two workers or more in the environment "
            "variable TF_CONFIG: set it on every machine, or use strategy=auto."
        )
    if kind != "multiworker" and cluster.size > 1:
        raise UsageError(
            f"strategy={kind} is for one machine, and TF_CONFIG names {cluster.size}: "
            "use strategy=multiworker, or unset TF_CONFIG."
        )
    return kind


def _cut_cpu(count: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    standing = tf.config.get_logical_device_configuration(cpu)
    if standing is not None and len(standing) == count:
        return
    try:
        tf.config.set_logical_device_configuration(cpu, devices)
    except RuntimeError as error:
        raise UsageError(
            f"logical_cpus={count} comes too late, for TensorFlow has started: build "
            "the strategy before anything else."
        ) from error
