"""Wrong inputs of searching by image: indexes, queries, models, addresses."""

from bad_case import Case
from embed_cases import ABOUT
from world import also, as_json, write

from tests.search.made_index import drawn, write_index


def index(folder):
    """Makes `index`, of two images of one label."""
    files = [folder / "made" / f"{n}.png" for n in range(2)]
    files[0].parent.mkdir()
    for n, path in enumerate(files):
        path.write_bytes(drawn(n))
    write_index(folder / "made", files, ["tern", "tern"]).rename(folder / "index")


def export(weights):
    about = {**ABOUT, "name": "dogs", "weights_sha256": weights * 64}
    return also(
        write("dogs/1/saved_model.pb", ""),
        write("dogs/1/assets.extra/deml.json", as_json(about)),
    )


QUERY = "--image='images/class 00/0.png'"
FIND = f"search --index=index {QUERY} --export=dogs/1"

CASES = [
    Case(
        "no index to search",
        f"search {QUERY} --export=dogs/1",
        2,
        "--index is missing: name what deml_tf.index has written.",
    ),
    Case(
        "an index that is not there",
        f"search --index=none {QUERY} --export=dogs/1",
        2,
        "--index=none is no index, for it cannot be read (No such file or directory): "
        "name a folder that python -m deml_tf.index has written.",
    ),
    Case(
        "no image to search for",
        "search --index=index --export=dogs/1",
        2,
        "--image and --serve are missing, and one of them is needed: Image to search "
        "for.",
    ),
    Case(
        "an image to search for that is not there",
        "search --index=index --image=none.jpg --export=dogs/1",
        2,
        "--image=none.jpg cannot be read (No such file or directory): name an image.",
    ),
    Case(
        "an image to search for that is a folder",
        "search --index=index --image=images --export=dogs/1",
        2,
        "--image=images cannot be read (it is a folder): name an image.",
    ),
    Case(
        "nobody to embed the image",
        f"search --index=index {QUERY}",
        2,
        "--export and --server are missing, and one of them is needed: Version folder "
        "of the export that the index was made with, such as export/models/NAME/1, "
        "which embeds the image in this process.",
    ),
    Case(
        "an export and a server to embed the image",
        f"{FIND} --server=127.0.0.1:1",
        2,
        "--export and --server are both given, and one of them is needed: Version "
        "folder of the export that the index was made with, such as "
        "export/models/NAME/1, which embeds the image in this process.",
    ),
    Case(
        "an export that the index was not made with",
        FIND,
        1,
        "the queries come from dogs 1 (weights 777777777777), and --index=index holds "
        "embeddings of birds 3 (weights 555555555555), which cannot be compared: embed "
        "with birds 3, or build an index of dogs 1.",
        also(index, export("7")),
    ),
    Case(
        "a label that no indexed image has",
        f"{FIND} --label=gull",
        2,
        "--label=gull: no image of --index=index has it: give another, or none.",
        also(index, export("5")),
    ),
    Case(
        "a model's name without a server",
        f"{FIND} --model=dogs",
        2,
        "model is for --server, and --export embeds here: leave one of them out.",
    ),
    Case(
        "a server's protocol without a server",
        f"{FIND} --protocol=rest",
        2,
        "protocol is for --server, and --export embeds here: leave one of them out.",
    ),
    Case(
        "encryption without a server",
        f"{FIND} --tls",
        2,
        "tls is for --server, and --export embeds here: leave one of them out.",
    ),
    Case(
        "a web page's name without a web page",
        f"{FIND} --host_name=search.example.org",
        2,
        "host_name is for --serve, and --image asks once: leave one of them out.",
    ),
    Case(
        "the largest upload without a web page",
        f"{FIND} --max_upload=5",
        2,
        "max_upload is for --serve, and --image asks once: leave one of them out.",
    ),
    Case(
        "no image to be found",
        f"{FIND} --k=0",
        2,
        "--k=0: it must be at least 1.",
    ),
    Case(
        "a server that is not there to embed the image",
        f"search --index=index {QUERY} --server=127.0.0.1:1 --protocol=rest",
        1,
        "--server=127.0.0.1:1 cannot be reached (UNAVAILABLE: [Errno 111] Connection "
        "refused): start it, or name the port on which it speaks REST without TLS.",
        index,
    ),
    Case(
        "a result to be written into a folder",
        f"{FIND} --output=images",
        2,
        "--output=images is a folder: name a file elsewhere.",
    ),
    Case(
        "a web page at no address",
        "search --index=index --export=dogs/1 --serve=here",
        2,
        "--serve=here: write PORT or HOST:PORT, such as 127.0.0.1:8000.",
    ),
    Case(
        "a web page at an address of another machine",
        "search --index=index --export=dogs/1 --serve=192.0.2.1:8000",
        2,
        "--serve=192.0.2.1:8000 cannot be served (Cannot assign requested address): "
        "name another port, or an address of this machine.",
    ),
    Case(
        "a web page to be written",
        "search --index=index --export=dogs/1 --serve=8000 --output=page.html",
        2,
        "--output=page.html is for one image, and --serve for many: leave one of them "
        "out.",
    ),
    Case(
        "a web page that takes no image",
        "search --index=index --export=dogs/1 --serve=8000 --max_upload=0",
        2,
        "--max_upload=0.0: it must be above 0.",
    ),
]
