"""Wrong inputs of bulk embedding: exports, images, parts and folders to write to."""

from bad_case import Case
from world import also, as_json, write

ABOUT = {
    "name": "birds",
    "version": 1,
    "weights_sha256": "5" * 64,
    "precision": "float32",
    "embedding": {"size": 24, "parts": {"scales": 1}},
    "threshold": {"cosine": None},
    "preprocessing": {},
}
MODEL = write("birds/1/saved_model.pb", "")
EXPORT = also(MODEL, write("birds/1/assets.extra/deml.json", as_json(ABOUT)))
HERE = "embed --export=birds/1 --output=out --images"

CASES = [
    Case(
        "no export",
        "embed --export=birds/2 --images=images --output=out",
        2,
        "--export=birds/2 is no folder: name a version that deml_tf.export wrote, such "
        "as export/models/NAME/1.",
        EXPORT,
    ),
    Case(
        "the folder of a model's versions",
        "embed --export=birds --images=images --output=out",
        2,
        "--export=birds holds versions: name one of them, such as birds/1.",
        EXPORT,
    ),
    Case(
        "an export for another runtime",
        "embed --export=birds --images=images --output=out",
        2,
        "--export=birds is an export for another runtime: name one of "
        "format=saved_model.",
        write("birds/deml.json", "{}"),
    ),
    Case(
        "a folder without a model",
        "embed --export=images --images=images --output=out",
        2,
        "--export=images holds no SavedModel: name a version that deml_tf.export "
        "wrote, such as export/models/NAME/1.",
    ),
    Case(
        "an export without its description",
        f"{HERE}=images",
        1,
        "birds/1/assets.extra/deml.json cannot be read (No such file or directory): "
        "export the run again.",
        MODEL,
    ),
    Case(
        "an export with the description of something else",
        f"{HERE}=images",
        1,
        "birds/1/assets.extra/deml.json is not what an export writes ('embedding' is "
        "missing): export the run again.",
        also(MODEL, write("birds/1/assets.extra/deml.json", "{}")),
    ),
    Case(
        "no images to embed are named",
        "embed --export=birds/1 --output=out",
        2,
        "--images is missing: A folder, at any depth; a CSV list with the column path, "
        "and label if there are labels; or a quoted pattern, such as "
        "'photos/**/*.jpg'.",
        EXPORT,
    ),
    Case(
        "images to embed that do not exist",
        f"{HERE}=none",
        2,
        "--images=none does not exist: name a folder, a list or a pattern.",
        EXPORT,
    ),
    Case(
        "a pattern that no image has",
        f"{HERE}='images/*/*.jpg'",
        2,
        "--images=images/*/*.jpg holds no images (.jpg, .jpeg, .jpe, .jfif, .pjpeg, "
        ".pjp, .png, .gif, .bmp, .dib, .webp, .tif, .tiff, .avif, .heic, .heif, .jp2): "
        "name another folder, list or pattern.",
        EXPORT,
    ),
    Case(
        "a list of images without paths",
        f"{HERE}=list.csv",
        1,
        "list.csv has no column path in its first line; begin it with a header such as "
        "path,label or path,label,split.",
        also(EXPORT, write("list.csv", "images/class 00/0.png\n")),
    ),
    Case(
        "a list of images that are elsewhere",
        f"{HERE}=list.csv",
        1,
        "none of the images that list.csv lists exists, such as DIR/0.png; write paths "
        "relative to the folder of the list, or absolute ones.",
        also(EXPORT, write("list.csv", "path\n0.png\n1.png\n")),
    ),
    Case(
        "a part beyond the last one",
        f"{HERE}=images --part=3/2",
        2,
        "--part=3/2: give K/N with K from 1 to N, such as 1/4.",
        EXPORT,
    ),
    Case(
        "workers without a cluster",
        f"{HERE}=images --workers=4",
        2,
        "--workers=4 is for --engine=ray: give both or neither.",
        EXPORT,
    ),
    Case(
        "shards without images",
        f"{HERE}=images --shard_size=0",
        2,
        "--shard_size=0: it must be at least 1.",
        EXPORT,
    ),
    Case(
        "embeddings to be written into a file",
        "embed --export=birds/1 --images=images --output=tiny.cfg",
        2,
        "--output=tiny.cfg leads through the file DIR/tiny.cfg: name another folder.",
        EXPORT,
    ),
    Case(
        "embeddings of another export in the same folder",
        f"{HERE}=images",
        2,
        "--output=out holds embeddings of another export (dogs 2 with weights "
        "77777777, this is birds 1 with weights 55555555): name another folder, or the "
        "export of then.",
        also(
            EXPORT,
            write(
                "out/embeddings.json",
                as_json({"model": "dogs", "version": 2, "weights_sha256": "7" * 64}),
            ),
        ),
    ),
    Case(
        "shards of nobody knows what in the folder",
        f"{HERE}=images",
        2,
        "--output=out holds shard_00000.parquet but no embeddings.json, which says of "
        "what it is: name another folder.",
        also(EXPORT, write("out/shard_00000.parquet", "")),
    ),
]
