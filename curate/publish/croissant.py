"""A publication in Croissant, so that programs find, load and judge it without reading a card.

Source: Croissant format specification 1.1, http://mlcommons.org/croissant/1.1, and its vocabulary
for responsible AI, http://mlcommons.org/croissant/RAI/1.0. What is not known is not stated, also
where the specification asks for it (`creator`, `url`).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from curate.publish.contents import Contents
from curate.publish.tables import METADATA_COLUMNS, METADATA_NAME, URL_COLUMNS, URLS_NAME
from curate.rights.licences import licence_url

CROISSANT_NAME = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
TAR, PARQUET = "application/x-tar", "application/x-parquet"  # as mlcroissant knows them
IMAGES, SAMPLES, SPLITS, ADDRESSES = "image-files", "samples", "splits", "addresses"
# specification 1.1, appendix 1
_PREFIXED = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileProperty fileObject "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet "
    "references regex repeated replace samplingRate separator source subField transform"
).split()
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{name: f"cr:{name}" for name in _PREFIXED},
}
_DATA_TYPES = {"string": "sc:Text", "list": "sc:Text", "int64": "sc:Integer", "bool": "sc:Boolean"}
_ADDRESS_COLUMNS = ("url", "page", "author_url", "page_url", "image_url", "license_url")


def describe(contents: Contents, hashes: Mapping[str, str], date: str, version: str) -> str:
    """`croissant.json`: equal contents give equal bytes.

    Args:
        contents: what is published.
        hashes: file -> SHA-256 of the two tables.
        date: of the publication, ISO 8601.
        version: MAJOR.MINOR.PATCH.
    """
    value: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": contents.name,
        "description": f"{contents.images} images with captions, each with its author, page and "
        "licence; all of them may be given on by the policy under which they were checked.",
        "license": [licence_url(id) or id for id, _ in contents.ranked_licences()],
        "datePublished": date,
        "version": version,
        "keywords": ["images", "captions", "text-to-image", "webdataset"],
    }
    if contents.url:
        value["url"] = contents.url
    if contents.creator:
        value["creator"] = {"@type": "sc:Organization", "name": contents.creator}
    if contents.languages:
        value["inLanguage"] = sorted(contents.languages)
    value |= _responsible(contents)
    value["distribution"] = list(_distribution(contents, hashes))
    value["recordSet"] = list(_record_sets(contents))
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _distribution(contents: Contents, hashes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for shard in contents.shards:
        yield _file(shard.path, TAR, shard.sha256, f"{shard.samples} samples, {shard.split}") | {
            "contentSize": f"{shard.bytes} B"
        }
    tars = [{"@id": shard.path} for shard in contents.shards]
    yield {
        "@type": "cr:FileSet",
        "@id": IMAGES,
        "name": IMAGES,
        "description": "The images inside the tars.",
        "containedIn": tars if len(tars) > 1 else tars[0],
        "encodingFormat": MEDIA_TYPES[contents.format],
        "includes": f"*.{contents.format}",
    }
    yield _file(METADATA_NAME, PARQUET, hashes[METADATA_NAME], "A row an image.")
    if contents.addresses:
        yield _file(URLS_NAME, PARQUET, hashes[URLS_NAME], "A row an address.")


def _file(name: str, format: str, sha256: str, what: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": what,
        "contentUrl": name,
        "encodingFormat": format,
        "sha256": sha256,
    }


def _record_sets(contents: Contents) -> Iterator[dict[str, Any]]:
    yield {
        "@type": "cr:RecordSet",
        "@id": SPLITS,
        "name": SPLITS,
        "description": "The splits; relatives of one picture are in the same.",
        "dataType": "cr:Split",
        "key": {"@id": f"{SPLITS}/name"},
        "field": [_plain_field(SPLITS, "name", "sc:Text", "Name of the split.")],
        "data": [{f"{SPLITS}/name": name} for name in contents.splits()],
    }
    # from the tars to the table: the other way round, mlcroissant takes the table for an image
    what = f"{METADATA_COLUMNS['file_name'][1].capitalize()}."
    file_name = _plain_field(SAMPLES, "file_name", "sc:Text", what)
    file_name["source"] = {"fileSet": {"@id": IMAGES}, "extract": {"fileProperty": "filename"}}
    column = {"fileObject": {"@id": METADATA_NAME}, "extract": {"column": "file_name"}}
    file_name["references"] = column
    others = (n for n in METADATA_COLUMNS if n != "file_name")
    image = _plain_field(SAMPLES, "image", "sc:ImageObject", "The image, as packed.")
    image["source"] = {"fileSet": {"@id": IMAGES}, "extract": {"fileProperty": "content"}}
    fields = [_column_field(SAMPLES, METADATA_NAME, n, METADATA_COLUMNS[n]) for n in others]
    yield {
        "@type": "cr:RecordSet",
        "@id": SAMPLES,
        "name": SAMPLES,
        "description": "A record an image: the image itself, its captions, and whose it is.",
        "key": {"@id": f"{SAMPLES}/file_name"},
        "field": [file_name, image, *fields],
    }
    if contents.addresses:
        columns = URL_COLUMNS.items()
        yield {
            "@type": "cr:RecordSet",
            "@id": ADDRESSES,
            "name": ADDRESSES,
            "description": "Images that are not given on, by their address.",
            "field": [_column_field(ADDRESSES, URLS_NAME, n, column) for n, column in columns],
        }


def _plain_field(place: str, name: str, type: str, what: str) -> dict[str, Any]:
    id = f"{place}/{name}"
    return {"@type": "cr:Field", "@id": id, "name": name, "description": what, "dataType": type}


def _column_field(place: str, file: str, name: str, column: tuple[str, str]) -> dict[str, Any]:
    type, what = column
    data_type = "sc:URL" if name in _ADDRESS_COLUMNS else _DATA_TYPES[type]
    field = _plain_field(place, name, data_type, f"{what[0].upper()}{what[1:]}.")
    field["source"] = {"fileObject": {"@id": file}, "extract": {"column": name}}
    if type == "list":
        field |= {"isArray": True, "arrayShape": "-1"}
    if name == "split":
        field["references"] = {"field": {"@id": f"{SPLITS}/name"}}
    return field


def _responsible(contents: Contents) -> dict[str, Any]:
    """What is known of how the data came to be. Source: Croissant RAI 1.0, its table."""
    sources = ", ".join(f"{name} ({count})" for name, count in contents.sources.most_common())
    origins = ", ".join(f"{name} ({count})" for name, count in contents.origins.most_common())
    missing = {"author": "author", "page_url": "page", "retrieved": "time of collection"}
    lacks = [f"{missing[n]}: {c} images" for n, c in sorted(contents.lacking.items()) if c]
    found: dict[str, Any] = {
        "rai:dataCollection": "Images were fetched from sources that state a licence of each; the "
        "licence was identified, and a policy decided image by image. Images that are opted out of "
        "training one by one, and images that were taken back, are left out, with all copies.",
        "rai:dataCollectionRawData": f"Images by source: {sources}.",
        "rai:dataPreprocessingProtocol": [
            f"{what}: {count} images" for what, count in contents.modified.most_common()
        ],
        "rai:dataAnnotationProtocol": f"Captions by where they come from: {origins}.",
        "rai:dataLimitations": contents.limits(),
    }
    if contents.retrieved:
        found["rai:dataCollectionTimeframe"] = contents.retrieved
    if lacks:
        found["rai:dataCollectionMissingData"] = f"Not stated: {'; '.join(lacks)}."
    return found
