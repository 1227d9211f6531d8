"""The plain side of HTML: what is shown, and that nothing hostile breaks it or takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("Hello", "Hello"),
        ("a\n  b\t<b>c</b>d", "a b cd"),
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("one<br>two<br/><br />three", "one\ntwo\n\nthree"),
        ("<ul><li>one</li><li>two</ul>end", "- one\n- two\n\nend"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</table>", "a b\nc"),
        ("<pre>  a\n\n    b  </pre>c", "  a\n\n    b  \n\nc"),
        ("a&nbsp;&nbsp;b &lt;c&gt; &amp;amp; &euro;&#8364;&#x20AC;", "a  b <c> &amp; €€€"),
        ("1 < 2 && 3 > 2", "1 < 2 && 3 > 2"),
        ("<head><title>T</title><style>p { a: b }</style></head><body>B<script>'<p>'</script></body>", "B"),
        ("a<!-- <p>b</p> -->c<!---->d<!-->e", "acde"),
        ("<!DOCTYPE html><?xml?>a</>b", "ab"),
        ("<!--[if mso]>x<![endif]--><![if !mso]>y<![endif]>", "y"),
        ("<!--[if !mso]><!-->y<!--<![endif]-->", "y"),
        ('<a href="https://x.example/?a=1&amp;b=2">the shop</a>.', "the shop (https://x.example/?a=1&b=2)."),
        ("<a class=b href = 'https://x.example'>https://x.example</a>", "https://x.example"),
        ("<a href=mailto:a@b.example>a@b.example</a>", "a@b.example"),
        ("<a HREF=tel:+491>call</A>", "call (tel:+491)"),
        ('<a href="#top">up</a> <a href="javascript:x()">run</a> <a>none</a>', "up run none"),
        ('<a href="https://x.example"><img alt="Logo &amp; more" src=x></a>', "Logo & more (https://x.example)"),
        ('<a href="https://x.example"><img src=x></a>', "https://x.example"),
        ('<a href="https://x.example"><p>block</p></a>', "block\n\nhttps://x.example"),
        (
            '<a href="https://x.example">one<a href="https://y.example">two',
            "one (https://x.example)two (https://y.example)",
        ),
        ('<p title="a > b" data-href="https://no.example">x</p>', "x"),
        ('<a title="href=https://no.example" href=https://x.example>y</a>', "y (https://x.example)"),
        ("<p it's>fine</p>", "fine"),
        ("<p title='unclosed>lost", ""),
        ("a<script>never closed", "a"),
        ("a<!-- never closed", "a"),
        ("a<b", "a"),
        ("a<", "a<"),
        ("&#" + "9" * 5_000 + ";", "&#" + "9" * 5_000 + ";"),
        ("&#0;&#xD800;&#1;&#x110000;", "\ufffd\ufffd\ufffd"),
        ("<svg><title>t</title></svg><textarea>hidden</textarea>x", "x"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    assert plain_text.from_html(html) == text


HOSTILE = [
    "<!--",
    "<![",
    "<a ",
    "</",
    "<a href='",
    '<a ="',
    "<a href=https://x>",
    "&#x",
    "<style></style ",
    "<a b= ",
    "<p>",
]


@pytest.mark.parametrize("piece", [*HOSTILE, "<div><b>", " \n", "<pre>\n", "</a ", "<title>x</title>", "= ", "<x href"])
def test_time_grows_with_length_only(piece: str) -> None:
    def seconds(length: int) -> float:
        started = time.process_time()
        plain_text.from_html(piece * (length // len(piece)))
        return time.process_time() - started

    assert seconds(plain_text.LONGEST_SOURCE) < 2  # a quadratic scan would take minutes


def test_source_is_read_up_to_its_limit() -> None:
    assert len(plain_text.from_html("a" * 2 * plain_text.LONGEST_SOURCE)) == plain_text.LONGEST_SOURCE


PIECES = st.sampled_from(
    ["<", ">", "</", "a", "p", "pre", "li", "script", "!--", "--", " ", "href=", "'", '"', "&#", ";", "\n"]
)


@given(st.lists(PIECES | st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=30).map("".join))
def test_any_html_becomes_text_that_can_be_encoded(html: str) -> None:
    plain_text.from_html(html).encode()
