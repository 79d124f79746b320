"""Images that speak of training: XMP where each format keeps it, manifests signed here."""

import datetime
import io
import json
import zlib
from functools import cache

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from PIL.PngImagePlugin import PngInfo

DMI = "http://ns.useplus.org/ldf/vocab/DMI-"
FIELDS = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
OTHER_USAGE = (  # of a key, beside signing
    *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("encipher_only", "decipher_only"),
)
KIND = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def packet(inner: str = "", attributes: str = "") -> bytes:
    """An XMP packet with properties as elements or as attributes."""
    spaces = {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
        "dcterms": "http://purl.org/dc/terms/",
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "tdm": "http://www.w3.org/ns/tdmrep/",
    }
    named = " ".join(f'xmlns:{prefix}="{space}"' for prefix, space in spaces.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {named}>'
        f'<rdf:Description rdf:about="" {attributes}>{inner}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def mining(term: str) -> bytes:
    return packet(f"<plus:DataMining>{DMI}{term}</plus:DataMining>")


def image(form: str = "JPEG", xmp: bytes | None = None) -> bytes:
    """A small image with an XMP packet where its format keeps it."""
    file, more = io.BytesIO(), {}
    if xmp is not None and form == "PNG":
        more["pnginfo"] = PngInfo()
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    elif xmp is not None:
        more["xmp"] = xmp
    Image.new("RGB", (64, 48), "teal").save(file, form, **more)
    return file.getvalue()


def with_segments(*payloads: bytes) -> bytes:
    """A JPEG with APP1 segments of these payloads before all others."""
    data = image()
    parts = (b"\xff\xe1" + (len(p) + 2).to_bytes(2, "big") + p for p in payloads)
    return data[:2] + b"".join(parts) + data[2:]


def with_chunk(kind: bytes, payload: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    data = image("PNG")
    crc = zlib.crc32(kind + payload).to_bytes(4, "big")
    return data[:33] + len(payload).to_bytes(4, "big") + kind + payload + crc + data[33:]


@cache
def signer_of(name: str) -> "tuple[bytes, bytes]":
    """A chain of certificates made here, and the key of the first, in PEM."""
    now = datetime.datetime.now(datetime.UTC)
    keys = {n: ec.generate_private_key(ec.SECP256R1()) for n in ("authority", name)}
    chain = []
    for subject in (name, "authority"):
        is_authority, key = subject == "authority", keys[subject]
        usage = dict.fromkeys(OTHER_USAGE, False)
        usage |= dict.fromkeys(("key_cert_sign", "crl_sign"), is_authority)
        named = [
            x509.Name([x509.NameAttribute(oid, text) for oid in FIELDS])
            for text in (subject, "authority")
        ]
        made = (
            x509.CertificateBuilder()
            .subject_name(named[0])
            .issuer_name(named[1])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.KeyUsage(not is_authority, **usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["authority"].public_key()),
                False,
            )
        )
        if not is_authority:
            uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            made = made.add_extension(uses, critical=False)
        certificate = made.sign(keys["authority"], hashes.SHA256())
        chain.append(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return b"".join(chain), keys[name].private_bytes(serialization.Encoding.PEM, private, plain)


def sign(*assertions: tuple[str, object], form: str = "JPEG", parent: bytes | None = None) -> bytes:
    """A small image with a manifest that holds these assertions; `parent`: what it was made of."""
    content = [{"label": label, "data": data} for label, data in assertions]
    if not any(label.startswith("c2pa.actions") for label, _ in assertions):
        created = {"action": "c2pa.created", "digitalSourceType": f"{KIND}digitalCapture"}
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["made-of"]}}
        actions = [opened if parent else created]
        content.append({"label": "c2pa.actions", "data": {"actions": actions}})
    definition = {"claim_generator_info": [{"name": "test", "version": "1"}], "assertions": content}
    chain, key = signer_of("signer")
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, key, None))
    context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    mime, out = f"image/{form.lower()}", io.BytesIO()
    builder = c2pa.Builder(definition, context=context)
    if parent:
        about = json.dumps({"title": "x", "relationship": "parentOf", "label": "made-of"})
        builder.add_ingredient(about, mime, io.BytesIO(parent))
    builder.sign(signer, mime, io.BytesIO(image(form)), out)
    return out.getvalue()


def entries(prefix: str, **uses: str) -> tuple[str, object]:
    said = {f"{prefix}.{name}": {"use": use} for name, use in uses.items()}
    return f"{prefix}.training-mining", {"entries": said}
