"""Flags and flagfiles that are wrong by themselves or together."""

from bad_case import Case
from world import write

CASES = (
    Case(
        "a flag that does not exist",
        "train TINY --frobnicate=3",
        2,
        "--frobnicate=3 is no flag of this command: see --help for all.",
    ),
    Case(
        "a misspelt flag",
        "train TINY --scale=3",
        2,
        "--scale=3 is no flag of this command: did you mean --scales, or "
        "see --help for all.",
    ),
    Case(
        "a flag without its value",
        "train TINY --scales",
        2,
        "--scales has no value: write --scales=VALUE.",
    ),
    Case(
        "a word where a whole number belongs",
        "train TINY --scales=two",
        2,
        "--scales=two: give a whole number.",
    ),
    Case(
        "a fraction where a whole number belongs",
        "train TINY --steps=2.5",
        2,
        "--steps=2.5: give a whole number.",
    ),
    Case(
        "a word where a number belongs",
        "train TINY --learning_rate=fast",
        2,
        "--learning_rate=fast: give a number.",
    ),
    Case(
        "none of a flag's choices",
        "train TINY --fit=stretch",
        2,
        "--fit=stretch: give squash or pad.",
    ),
    Case(
        "neither true nor false",
        "train TINY --deterministic=perhaps",
        2,
        "--deterministic=perhaps: give true or false.",
    ),
    Case(
        "a value for a --no flag",
        "train TINY --nodeterministic=1",
        2,
        "--nodeterministic=1 takes no value: write --nodeterministic.",
    ),
    Case(
        "a word that is no flag",
        "train TINY birds",
        2,
        "'birds' is no flag: flags start with --.",
    ),
    Case(
        "no data set",
        "train",
        2,
        "--dataset is missing: give it, or a --flagfile with it.",
    ),
    Case(
        "no place of the data set",
        "train --dataset=folder",
        2,
        "--data_dir is missing: give it, or a --flagfile with it.",
    ),
    Case(
        "no run folder",
        "train --dataset=folder --data_dir=images",
        2,
        "--run_dir is missing: give it, or a --flagfile with it.",
    ),
    Case(
        "an unknown kind of data set",
        "train TINY --dataset=birds",
        2,
        "--dataset=birds is unknown; use one of folder, list, "
        "cub200_2011, cars196, sop, in_shop, tfds:NAME, plumage.",
    ),
    Case(
        "a path that a flagfile cannot hold",
        "train TINY '--data_dir=a '",
        2,
        "--data_dir='a ' fits on no line of a flagfile: leave out line breaks "
        "and the blanks at its ends.",
    ),
    Case(
        "a flagfile that is missing",
        "train --flagfile=none.cfg",
        2,
        "--flagfile=none.cfg cannot be read (No such file or directory): "
        "give a text file with one --flag=value a line.",
    ),
    Case(
        "a folder as flagfile",
        "train --flagfile images",
        2,
        "--flagfile=images cannot be read (Is a directory): give a text"
        " file with one --flag=value a line.",
    ),
    Case(
        "a flagfile flag without a file",
        "train --flagfile",
        2,
        "--flagfile has no value: write --flagfile=VALUE.",
    ),
    Case(
        "a flagfile that includes itself",
        "train --flagfile=a.cfg",
        2,
        "a.cfg says --flagfile=a.cfg and so includes itself: take that line out.",
        write("a.cfg", "--scales=2\n--flagfile=a.cfg\n"),
    ),
    Case(
        "a line of a flagfile without --",
        "train --flagfile=a.cfg",
        2,
        "--flagfile=a.cfg, line 3, is 'learners=2': write --flag=value, "
        "or # before a comment.",
        write("a.cfg", "# mine\n--scales=2\nlearners=2\n"),
    ),
    Case(
        "a flagfile that is no text",
        "train --flagfile=a.cfg",
        2,
        "--flagfile=a.cfg cannot be read (it is no UTF-8 text): give a "
        "text file with one --flag=value a line.",
        write("a.cfg", b"\xff\xfe\x00"),
    ),
    Case("no scale", "train TINY --scales=0", 2, "--scales=0: it must be at least 1."),
    Case(
        "a negative count",
        "train TINY --learners=-1",
        2,
        "--learners=-1: it must be at least 1.",
    ),
    Case("no step", "train TINY --steps=0", 2, "--steps=0: it must be at least 1."),
    Case(
        "a batch of one image a class",
        "train TINY --images_per_class=1",
        2,
        "--images_per_class=1: it must be at least 2.",
    ),
    Case(
        "a walk without steps",
        "train TINY --walk_steps=0",
        2,
        "--walk_steps=0 is no walk; use at least 1, or None.",
    ),
    Case(
        "scoring never",
        "train TINY --evaluate_every=0",
        2,
        "--evaluate_every=0: it must be at least 1.",
    ),
    Case(
        "checkpoints at negative steps",
        "train TINY --checkpoint_every=-5",
        2,
        "--checkpoint_every=-5: it must be at least 1.",
    ),
    Case(
        "an empty batch to score",
        "train TINY --scoring_batch_size=0",
        2,
        "--scoring_batch_size=0: it must be at least 1.",
    ),
    Case(
        "a negative seed",
        "train TINY --seed=-1",
        2,
        "--seed=-1: it must be at least 0.",
    ),
    Case(
        "a seed of more than 32 bits",
        "train TINY --seed=4294967296",
        2,
        "--seed=4294967296: it must be below 4294967296.",
    ),
    Case(
        "a learning rate of nothing",
        "train TINY --learning_rate=0",
        2,
        "--learning_rate=0.0: it must be above 0.0.",
    ),
    Case(
        "a learning rate that is no number",
        "train TINY --learning_rate=nan",
        2,
        "--learning_rate=nan: it must be a finite number.",
    ),
    Case(
        "an infinite margin",
        "train TINY --binomial_deviance_beta=inf",
        2,
        "--binomial_deviance_beta=inf: it must be a finite number.",
    ),
    Case(
        "a kernel without width",
        "train TINY --walk_epsilon=0",
        2,
        "--walk_epsilon=0.0 is no width; use more than 0.",
    ),
    Case(
        "a negative width",
        "train TINY --width=-1",
        2,
        "--width=-1.0: it must be above 0.0.",
    ),
    Case(
        "a negative weight of a loss",
        "train TINY --decoupling_weight=-1",
        2,
        "--decoupling_weight=-1.0: it must be at least 0.0.",
    ),
    Case(
        "all seen classes held out",
        "train TINY --validation_classes=1",
        2,
        "--validation_classes=1.0: it must be below 1.0.",
    ),
    Case(
        "a stride that there is not",
        "train TINY --output_stride=8",
        2,
        "--output_stride=8: it must be 16 or 32.",
    ),
    Case(
        "an image smaller than the network",
        "train TINY --input_size=16",
        2,
        "--input_size=16: it must be at least 32.",
    ),
    Case(
        "a rank of 0",
        "train TINY --ranks=1,0",
        2,
        "--ranks=1,0: give whole numbers from 1 up, separated by commas.",
    ),
    Case(
        "a word among the steps",
        "train TINY --decay_steps=5,x",
        2,
        "--decay_steps=5,x: give whole numbers from 1 up, separated by commas.",
    ),
    Case(
        "steps to decay at that go back",
        "train TINY --schedule=step --decay_steps=5,3",
        2,
        "--decay_steps=5,3 goes back: give each step once, in rising order.",
    ),
    Case(
        "steps to decay at, not used",
        "train TINY --decay_steps=5",
        2,
        "--decay_steps=5 is not for --schedule=constant: give --schedule=step with it.",
    ),
    Case(
        "a step schedule without steps",
        "train TINY --schedule=step",
        2,
        "--schedule=step needs steps to decay at: give --decay_steps=N,M.",
    ),
    Case(
        "a warm-up as long as the training",
        "train TINY --warmup_steps=8",
        2,
        "--warmup_steps=8: it must be below --steps=8.",
    ),
    Case(
        "a memory that fills when the training is over",
        "train TINY --loss=contrastive --memory=5",
        2,
        "--memory_start=1000: with --steps=8 no step would be compared with "
        "--memory=5; it must be below steps - 1.",
    ),
    Case(
        "a weight decay of an optimizer without",
        "train TINY --weight_decay=0.1",
        2,
        "--weight_decay=0.1 is not for --optimizer=adam: give "
        "--optimizer=adamw with it.",
    ),
    Case(
        "a part larger than the image",
        "train TINY --augmentation=random_resized_crop "
        "--random_resized_crop_min_area=2",
        2,
        "--random_resized_crop_min_area=2.0: it must be above 0 and at most 1, a share "
        "of the image.",
    ),
    Case(
        "patience without validation classes",
        "train TINY --validation_classes=0 --patience=2",
        2,
        "--patience=2 needs validation classes: give "
        "--validation_classes=0.1, or leave out --patience=2.",
    ),
    Case(
        "patience that never ends",
        "train TINY --validation_classes=0.25 --patience=7 --evaluate_every=1",
        2,
        "--patience=7: with 8 evaluations it would never stop the training early; "
        "lower it, or evaluate_every, or leave it out.",
    ),
    Case(
        "a crop larger than the image",
        "train TINY --input_size=48",
        2,
        "--resize_size=40: it must be at least --input_size=48.",
    ),
    Case(
        "a source smaller than the view",
        "train TINY --input_size=48 --resize_size=48 --source_size=40",
        2,
        "--source_size=40: it must be at least --input_size=48.",
    ),
    Case(
        "fewer numbers than parts",
        "train TINY --embedding_dim=3",
        2,
        "--embedding_dim=3: 2 scales x 2 learners need at least 4.",
    ),
    Case(
        "learners that are alike",
        "train TINY --nochannel_attention",
        2,
        "--learners=2 without channel attention would all be the same: "
        "use --learners=1, --channel_attention=true or --shared_projection=false.",
    ),
    Case(
        "a setting of gates where there are none",
        "train TINY --learners=1 --pooled_gates",
        2,
        "--pooled_gates=true is for gates, and none are built: leave it out, or use "
        "--channel_attention=true.",
    ),
    Case(
        "a source that no scale sees",
        "train TINY --source_size=48 --zoom_source=previous",
        2,
        "--source_size=48 is not seen with --zoom_source=previous, which cuts from "
        "views of --input_size=32: give --source_size=32.",
    ),
    Case(
        "norms trained in a backbone that is not",
        "train TINY --notrain_backbone --batch_norm=train",
        2,
        "--batch_norm=train is not for --train_backbone=false, which trains nothing of "
        "the backbone: use --batch_norm=auto.",
    ),
    Case(
        "a region larger than the view",
        "train TINY --region_rule=fixed --fixed_side=1.5",
        2,
        "--fixed_side=1.5: it must be above 0 and at most 1, a share of the side.",
    ),
    Case(
        "a threshold above the whole map",
        "train TINY --walk_threshold=1",
        2,
        "--walk_threshold=1.0: it must be above 0 and below 1.",
    ),
    Case(
        "squares that weigh nothing",
        "train TINY --region_rule=separation --separation_sharpness=0",
        2,
        "--separation_sharpness=0.0: it must be above 0.",
    ),
    Case(
        "a grid of one cell",
        "train TINY --region_rule=separation --separation_grid=1",
        2,
        "--separation_grid=1: it must be at least 2.",
    ),
    Case(
        "a tracker that is not installed",
        "train TINY --track=wandb",
        2,
        "--track=wandb needs wandb, which is not installed: run pip install "
        "'deml_tf[wandb]'.",
    ),
    Case(
        "images without boxes to crop them to",
        "train TINY --crop_to_box",
        1,
        "--crop_to_box=true needs a box of every image, and images/class 02/0.png has "
        "none (40 of 40 lack it): give --crop_to_box=false, or a data set that lists "
        "boxes.",
    ),
    Case(
        "more classes than there are",
        "train TINY --classes_per_batch=9",
        2,
        "--classes_per_batch=9 is more than the 2 classes trained on "
        "(class 02, class 03); give 2 or less.",
    ),
    Case(
        "more images than a class has",
        "train TINY --images_per_class=6",
        2,
        "--images_per_class=6 is more than the images of class 02 (5), "
        "class 03 (5) and leaves 0 of the 2 classes of a batch; give 5 or"
        " less.",
    ),
    Case(
        "more species than can be drawn",
        "train TINY --plumage_species=1000",
        2,
        "--plumage_species=1000: it must be below 1000.",
    ),
    Case(
        "a wider view than can be drawn",
        "train TINY --plumage_view=5",
        2,
        "--plumage_view=5.0: it must be at most 4.0.",
    ),
    Case(
        "both a run and an embedder",
        "evaluate --run_dir=run --embedder=embedder.keras",
        2,
        "--run_dir=run has an embedder of its own: leave it out, or "
        "--embedder=embedder.keras.",
    ),
    Case(
        "neither a run nor an embedder",
        "evaluate",
        2,
        "--run_dir is missing: give it, or --embedder with --dataset and --data_dir.",
    ),
    Case(
        "an embedder without images",
        "evaluate --embedder=e.keras",
        2,
        "--dataset is missing: --embedder needs it.",
    ),
    Case(
        "a word after evaluate",
        "evaluate run",
        2,
        "'run' is no flag: flags start with --.",
    ),
    Case(
        "no run to compare",
        "compare",
        2,
        "No run given: name the folders of finished runs.",
    ),
)
