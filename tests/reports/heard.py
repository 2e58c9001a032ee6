"""What a screen reader makes of a page."""

import re


def nameless(source):
    """The charts without a name and the rows without a header, of a page's HTML.

    Args:
        source: Of the page; it has a chart or a row.
    """
    charts = re.findall(r"<svg[^>]*>", source)
    rows = [
        row
        for body in re.findall(r"<tbody>.*?</tbody>", source, re.DOTALL)
        for row in re.findall(r"<tr[^>]*>\s*<[^>]*>", body)
    ]
    assert charts or rows
    named = r'<svg role="img" aria-label="[^"]+"'
    return [chart for chart in charts if not re.match(named, chart)] + [
        row for row in rows if not row.endswith('<th scope="row">')
    ]
