"""Writes the pages of all reports: one HTML file, images inside, no scripts."""

import base64
import functools
import io
import os
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from deml_tf.cli.printing import printable
from deml_tf.runs.atomic import write_atomically


def write_page(path: str | os.PathLike[str], template: str, **context: Any) -> None:
    """Write a page that needs no network.

    Args:
        path: The file to write.
        template: Name of a template, such as "run" or "audit".
        **context: What the template shows; all text is printable and escaped.
    """
    write_atomically(path, render(f"{template}.html.jinja", **context).encode())


def render(template: str, **context: Any) -> str:
    """Fill in a template.

    Args:
        template: Name of its file.
        **context: What it shows; all text is printable and escaped.
    """
    return _environment().get_template(template).render(context)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["breakable"] = _breakable
    return environment


def data_url(image: Image.Image) -> str:
    """Return an image as a data URL: a JPEG inside the page itself.

    Args:
        image: An RGB image.
    """
    return encoded_url(jpeg(image))


def encoded_url(encoded: bytes) -> str:
    """Return a JPEG file as a data URL.

    Args:
        encoded: Its bytes.
    """
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def jpeg(image: Image.Image) -> bytes:
    """Return an image as a JPEG file.

    Args:
        image: An RGB image.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _shown(value: Any) -> Any:
    """Make a text printable; charts and our other markup stay as they are."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value) if is_text else value


def _breakable(label: str) -> Markup:
    """Escape a label, and let the line break where its words end."""
    return Markup(re.sub(r"([_./-]+)", r"\1<wbr>", str(escape(printable(label)))))
