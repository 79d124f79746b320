"""Text that is not UTF-8: what it seems to be in, and the command that converts it."""

import codecs
import os
import re
import shlex
from collections.abc import Sequence
from itertools import count
from pathlib import Path

_UTF8_MARK = "\ufeff"  # that text may begin with
# Python's names of encodings that text is looked for in -> iconv's
_ICONV_NAMES = {
    "cp1252": "CP1252",
    "cp1250": "CP1250",
    "cp1251": "CP1251",
    "koi8_r": "KOI8-R",
    "cp1253": "CP1253",
    "cp1254": "CP1254",
    "cp1255": "CP1255",
    "cp1256": "CP1256",
    "cp932": "CP932",
    "euc_jp": "EUC-JP",
    "gb18030": "GB18030",
    "big5": "BIG5",
    "cp949": "CP949",
    "utf_16_le": "UTF-16LE",
    "utf_16_be": "UTF-16BE",
    "latin_1": "ISO-8859-1",
}
_WESTERN_SIGNS = frozenset("‘’‚“”„–—…•°«»¿¡§·´²³½¼¾×™©®€£\xa0")
_IDEOGRAPH = re.compile("[\u4e00-\u9fff]")
_KANA = re.compile("[\u3041-\u30fa]")  # those of half width left out
_MAX_GUESS_BYTES = 1 << 16  # bytes of lines with other letters that a guess looks at


def is_utf16(start: bytes) -> bool:
    """Whether a file that begins so says by its mark that it is UTF-16."""
    return start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def decode_utf8(data: bytes) -> str:
    """UTF-8, without the mark that it may begin with.

    Raises:
        UnicodeDecodeError: it is in something else; `start` counts from the first byte, whether
            there is a mark or not.
    """
    return data.decode().removeprefix(_UTF8_MARK)


def decode_text(data: bytes) -> str:
    """A text file's text: UTF-8 with or without a mark, or UTF-16 with one.

    Raises:
        UnicodeDecodeError: it is in something else, of which zero bytes between letters tell, too.
    """
    if is_utf16(data):
        return data.decode("utf-16")
    if data.count(b"\0") > len(data) / 4:
        raise UnicodeDecodeError("utf-8", data, data.find(b"\0"), len(data), "zero bytes")
    return decode_utf8(data)


def conversion_fix(path: Path) -> str:
    """What to do so that a text file which is not UTF-8 becomes so, as `find_conversion` has it."""
    return find_conversion(path)[1]


def folder_conversion(folder: str, encoding: str, endings: Sequence[str]) -> str:
    """A command by which all files below a folder that end so and are not UTF-8 become so.

    Files that are UTF-8, or begin with the mark of UTF-16, stay as they are; typed again it does no
    more.

    Args:
        folder: its path.
        encoding: what those files are in, in iconv's word.
        endings: of their names, in any case.
    """
    names = shlex.join(["-iname", f"*{endings[0]}"])
    names += "".join(f" -o {shlex.join(['-iname', f'*{one}'])}" for one in endings[1:])
    each = (
        'for f; do case $(head -c 2 "$f" | od -An -tx1) in *ff*fe*|*fe*ff*) continue;; esac; '
        'iconv -f UTF-8 "$f" > /dev/null 2>&1 || [ -e "$f.orig" ] || { mv "$f" "$f.orig" && '
        f'iconv -f {encoding} -t UTF-8 "$f.orig" > "$f"; }}; done'
    )
    place = shlex.quote(f"./{folder}" if folder.startswith("-") else folder)
    return f"find {place} -type f ! -name '.*' \\( {names} \\) -exec sh -c '{each}' sh {{}} +"


def find_conversion(path: Path) -> tuple[str, str]:
    """iconv's name of what a text file seems to be in, and what to do so that it becomes UTF-8.

    The name is "" where no one encoding is right for it, or none can be guessed.

    What it is in is a guess, since short texts leave several answers open: the command keeps the
    file as it was beside it, and does no more when it is typed again. A file that is UTF-8 but
    for some lines is to be mended by hand, since no one encoding is right for it.

    Raises:
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    odd = [(n, line) for n, line in enumerate(data.split(b"\n"), 1) if not line.isascii()]
    wrong = [(n, line) for n, line in odd if not _decodes(line, "utf-8")]
    if wrong and len(wrong) < len(odd) and b"\0" not in data:
        return "", f"write line {wrong[0][0]} of {path} anew: the rest of it is UTF-8"
    found = _guess_encoding(data, b"\n".join(line for _, line in wrong or odd))
    if found is None:
        return "", f"write {path} anew as UTF-8 text"
    file = f"./{path}" if str(path).startswith("-") else str(path)
    copies = (f"{file}.orig{number or ''}" for number in count())
    name, kept = shlex.quote(file), shlex.quote(next(c for c in copies if not os.path.lexists(c)))
    guess = _ICONV_NAMES[found]
    command = f"mv -n {name} {kept} && iconv -f {guess} -t UTF-8 {kept} > {name}"
    return guess, f"{guess} is a guess at what it is in: {command}"


def _guess_encoding(data: bytes, odd: bytes) -> str | None:
    """Python's name of the encoding, one of `_ICONV_NAMES`; None: it seems to be no text.

    Args:
        data: the whole file.
        odd: its lines that are not UTF-8.
    """
    from charset_normalizer import from_bytes

    if (zeros := data.count(b"\0")) > len(data) / 4:
        name = "utf_16_le" if data[1::2].count(b"\0") > zeros / 2 else "utf_16_be"
        return name if _decodes(data, name) else None
    if zeros:
        return None
    if _seems_western(odd) and _decodes(data, "cp1252"):
        return "cp1252"
    one_byte_or_more = [name for name in _ICONV_NAMES if not name.startswith("utf_16")]
    matches = from_bytes(odd[:_MAX_GUESS_BYTES], cp_isolation=one_byte_or_more)
    found = [match.encoding for match in matches if _decodes(data, match.encoding)]
    likely = (name for name in found if _reads_as_its_language(odd, name))
    return next(likely, next(iter(found), None))


def _seems_western(odd: bytes) -> bool:
    """Whether it reads as letters with accents here and there, and signs that go with them."""
    if not _decodes(odd, "cp1252"):
        return False
    text = odd.decode("cp1252")
    other = [c for c in text if not c.isascii()]
    letters = sum(c.isalpha() for c in text)
    usual = all(c.isalpha() or c in _WESTERN_SIGNS for c in other)
    return usual and sum(c.isalpha() for c in other) <= letters / 3


def _reads_as_its_language(odd: bytes, encoding: str) -> bool:
    """Whether text has what its language is hardly written without.

    Bytes of one East Asian encoding are letters in the others, too: rare syllables, or ideographs
    between hangul, tell that text is not Korean, and the lack of kana that it is not Japanese.
    """
    text = odd.decode(encoding, "replace")
    if encoding == "cp949":
        return _decodes(odd, "euc_kr") and not _IDEOGRAPH.search(text)
    return encoding not in ("cp932", "euc_jp") or bool(_KANA.search(text))


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
