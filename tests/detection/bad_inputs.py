"""Odd and bad inputs of a prediction, each with what must come of it: this grey, or this line."""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    UID,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

H, W = 40, 48
LEVELS = np.add.outer(np.arange(H) * 4, np.arange(W) * 2).astype(np.uint8)
"""The picture that most files hold, (H, W) uint8: a ramp with both ends of the range."""
LEVELS[0, 0], LEVELS[-1, -1] = 0, 255

NO_CODEC = "pip install landmark_diffusion[dicom-codecs]"


@dataclass(frozen=True)
class Input:
    """One file: what it is, and the grey (H, W) that must be read from it, or a part of the line that refuses it."""

    what: str
    path: Path
    grey: np.ndarray | None = None
    says: str = ""
    tolerance: int = 0
    """Grey levels, for what is stored with loss."""


def deep(bits: int, levels: np.ndarray = LEVELS) -> np.ndarray:
    """The same picture in ``bits`` bits, uint16."""
    return np.rint(levels * ((2**bits - 1) / 255)).astype(np.uint16)


def write_dicom(path: Path, values: np.ndarray = LEVELS, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Path:
    """Write values (H, W) or (H, W, 3) as DICOM; an element that is None is left out, bytes are written as they are."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    bits = 8 * values.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation = bits, bits, int(values.dtype.kind == "i")
    stored = values.astype(values.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else values
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    if "BitsStored" in dataset and "HighBit" not in dataset:
        dataset.HighBit = dataset.BitsStored - 1
    if UID(syntax).is_encapsulated:
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
    return path


def with_text(path: Path, old: bytes, new: bytes) -> Path:
    """Replace bytes of a file by as many others: values that pydicom would not write."""
    content = path.read_bytes()
    assert len(old) == len(new) and content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    return path


def encoded(levels: np.ndarray, form: str, **options: Any) -> bytes:
    """Encode an array with Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, form, **options)
    return buffer.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with hardly any pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def gdcm_compress(source: Path, target: Path, kind: str) -> Path:
    """Compress a DICOM file with gdcm, by the name of its transfer syntax there."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


def write_inputs(folder: Path) -> list[Input]:
    """Write all inputs into ``folder`` and list them; what cannot be made here (as root, without gdcm) is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Input] = []
    for part in (_images, _deep_images, _colours, _damaged, _not_images, _names, _dicom, _dicom_spacing, _dicom_coded,
                 _dicom_bad):  # fmt: skip
        made += part(folder)
    assert len({item.path for item in made}) == len({item.what for item in made}) == len(made)
    return made


def _images(folder: Path) -> list[Input]:
    def saved(what: str, name: str, levels: np.ndarray, form: str, **options: Any) -> Input:
        (folder / name).write_bytes(encoded(levels, form, **options))
        return Input(what, folder / name, levels)

    made = [
        saved("8-bit PNG", "plain.png", LEVELS, "PNG"),
        saved("8-bit BMP", "plain.bmp", LEVELS, "BMP"),
        saved("8-bit TIFF", "plain.tif", LEVELS, "TIFF"),
        saved("LZW TIFF", "lzw.tiff", LEVELS, "TIFF", compression="tiff_lzw"),
        saved("PNG named .jpg", "is_png.jpg", LEVELS, "PNG"),
        saved("PNG named .dcm", "is_png.dcm", LEVELS, "PNG"),
        saved("one column", "one_column.png", LEVELS[:, :1], "PNG"),
        saved("one row", "one_row.tif", LEVELS[:1], "TIFF"),
        saved("30000 px wide", "wide.png", np.tile(LEVELS[:3], (1, 625)), "PNG"),
        saved("dpi in the file", "dpi.png", LEVELS, "PNG", dpi=(300, 300)),
        saved("EXIF orientation 1", "exif_1.png", LEVELS, "PNG", exif=_orientation(1)),
        saved("EXIF orientation 0", "exif_0.png", LEVELS, "PNG", exif=_orientation(0)),
    ]
    for name, levels in (("pixel", LEVELS[:1, 1:2]), ("black", LEVELS * 0), ("white", LEVELS * 0 + 254)):
        (folder / f"one_{name}.png").write_bytes(encoded(levels, "PNG"))
        made.append(Input(f"one grey: {name}", folder / f"one_{name}.png", says="99 % of the pixels or more have"))
    (folder / "plain.jpg").write_bytes(encoded(LEVELS, "JPEG", quality=95))
    made.append(Input("JPEG", folder / "plain.jpg", LEVELS, tolerance=6))
    for turned in range(2, 9):
        path = folder / f"exif_{turned}.jpg"
        path.write_bytes(encoded(LEVELS, "JPEG", exif=_orientation(turned)))
        made.append(Input(f"EXIF orientation {turned}", path, says=f"orientation {turned}"))
    return made


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def _deep_images(folder: Path) -> list[Input]:
    made = []
    for bits in (8, 10, 12, 14, 16):
        for form, suffix in (("PNG", "png"), ("TIFF", "tif")):
            path = folder / f"{bits}_in_16.{suffix}"
            path.write_bytes(encoded(deep(bits), form))
            made.append(Input(f"{bits} bits in 16-bit {form}", path, LEVELS))
    dark = deep(12) // 8  # a 12-bit file that says so, and whose largest value would do with 10
    path = folder / "max_sample_value.tif"
    path.write_bytes(encoded(dark, "TIFF", tiffinfo={0x0119: 4095}))
    made.append(Input("TIFF that names its largest value", path, np.rint(dark * (255 / 4095)).astype(np.uint8)))
    (folder / "white_is_zero.tif").write_bytes(encoded(deep(16, 255 - LEVELS), "TIFF", tiffinfo={0x0106: 0}))
    made.append(Input("16-bit TIFF where 0 is white", folder / "white_is_zero.tif", LEVELS))
    (folder / "int32.tif").write_bytes(encoded(deep(16).astype(np.int32), "TIFF"))
    made.append(Input("32-bit whole numbers within 16 bits", folder / "int32.tif", LEVELS))
    (folder / "int32_large.tif").write_bytes(encoded(LEVELS.astype(np.int32) * 1000, "TIFF"))
    made.append(Input("32-bit whole numbers", folder / "int32_large.tif", says="expected 0 to 65535"))
    (folder / "int32_negative.tif").write_bytes(encoded(LEVELS.astype(np.int32) - 9, "TIFF"))
    made.append(Input("negative numbers", folder / "int32_negative.tif", says="from -9 to"))
    (folder / "float.tif").write_bytes(encoded((LEVELS / 255).astype(np.float32), "TIFF"))
    made.append(Input("floats", folder / "float.tif", says="32-bit float"))
    for name, levels in (("rgb48.png", deep(16)), ("rgb48.tif", deep(16)), ("rgb12.png", deep(12))):
        cv2.imwrite(str(folder / name), np.repeat(levels[..., None], 3, -1))
        made.append(Input(f"colour of 16 bits a channel, {name}", folder / name, LEVELS))
    cv2.imwrite(str(folder / "rgba64.png"), np.dstack([deep(16)] * 3 + [np.full_like(deep(16), 9)]))
    made.append(Input("colour and alpha of 16 bits a channel", folder / "rgba64.png", LEVELS))
    return made


def _colours(folder: Path) -> list[Input]:
    made = []
    colour = np.stack([LEVELS, LEVELS[::-1], 255 - LEVELS], -1)
    luminance = np.asarray(Image.fromarray(colour).convert("L"))
    for mode, what in (("RGB", "colour"), ("RGBA", "colour with alpha")):
        path = folder / f"{mode}.png"
        image = Image.fromarray(colour).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.fromarray(LEVELS))
        image.save(path)
        made.append(Input(what, path, luminance))
    grey = Image.fromarray(LEVELS)
    alpha = Image.merge("LA", (grey, Image.fromarray(LEVELS.T.repeat(2, 1)[:H, :W].copy())))
    alpha.save(folder / "LA.png")
    made.append(Input("grey with alpha", folder / "LA.png", LEVELS))
    Image.merge("CMYK", [Image.new("L", grey.size)] * 3 + [Image.fromarray(255 - LEVELS)]).save(folder / "CMYK.tif")
    made.append(Input("CMYK", folder / "CMYK.tif", LEVELS))
    palette = Image.fromarray(255 - LEVELS, "P")
    palette.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    palette.save(folder / "palette.png")
    made.append(Input("palette", folder / "palette.png", LEVELS))
    palette.save(folder / "palette.png.gif", "GIF")
    (folder / "palette.png.gif").rename(folder / "gif.png")
    made.append(Input("GIF of one frame named .png", folder / "gif.png", LEVELS))
    Image.fromarray(LEVELS > 99).save(folder / "bits.png")
    made.append(Input("one bit", folder / "bits.png", (LEVELS > 99) * np.uint8(255)))
    return made


def _damaged(folder: Path) -> list[Input]:
    noise = np.random.default_rng(0).integers(
        0, 256, (60, 70), dtype=np.uint8
    )  # which compresses badly: cuts hit pixels
    contents = {
        "jpg": encoded(noise, "JPEG"), "png": encoded(noise, "PNG"), "tif": encoded(noise, "TIFF"),
        "lzw.tif": encoded(noise, "TIFF", compression="tiff_lzw"), "bmp": encoded(noise, "BMP"),
    }  # fmt: skip
    made = []
    for suffix, content in contents.items():
        for share in (2, 30, 60, 95):
            path = folder / f"cut_at_{share}.{suffix}"
            path.write_bytes(content[: len(content) * share // 100])
            made.append(Input(f"{suffix} cut at {share} %", path, says=path.name))
    wrong = bytearray(contents["png"])
    wrong[len(wrong) // 2] ^= 255
    (folder / "flipped.png").write_bytes(wrong)
    made.append(Input("PNG with a wrong byte", folder / "flipped.png", says="cannot be decoded"))
    sizes = {"no_width": (0, 9), "no_height": (9, 0), "bomb": (60000, 60000), "bigger": (2**31 - 1, 2**31 - 1)}
    for name, size in sizes.items():
        (folder / f"{name}.png").write_bytes(png_of_size(*size))
        says = "claims to be larger" if size[0] > 9 else f"{name}.png"
        made.append(Input(f"PNG of {size}", folder / f"{name}.png", says=says))
    (folder / "hollow.png").write_bytes(png_of_size(3000, 2000))
    made.append(Input("PNG with less pixels than it says", folder / "hollow.png", says="cannot be decoded"))
    frames = [Image.fromarray(LEVELS), Image.fromarray(LEVELS[::-1].copy())]
    frames[0].save(folder / "pages.tif", save_all=True, append_images=frames[1:])
    made.append(Input("TIFF of two pages", folder / "pages.tif", says="found 2 pages"))
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "moving.gif").rename(folder / "moving.png")
    made.append(Input("animated GIF named .png", folder / "moving.png", says="found 2 pages"))
    return made


def _not_images(folder: Path) -> list[Input]:
    texts = {
        "text named .png": ("text.png", b"no image at all\n", "no known image format"),
        "HTML named .dcm": ("page.dcm", b"<!DOCTYPE html><html><body>404" + b" " * 200, "no known image format"),
        "a model file": ("model.ldx", struct.pack("<Q", 50) + b'{"__metadata__":{}}' + b" " * 99, "no known image"),
        "a checkpoint": ("last.ckpt", b"PK\x03\x04" + bytes(200), "no known image format"),
        "zeros": ("zeros.bmp", bytes(500), "no known image format"),
        "noise": ("noise.tif", np.random.default_rng(1).bytes(999), "no known image format"),
        "TIFF of another kind": ("bigger.tif", b"II\x2b\0" + bytes(300), "bigger.tif"),
        "empty": ("empty.png", b"", "the file is empty"),
        "empty DICOM": ("empty.dcm", b"", "the file is empty"),
    }
    made = []
    for what, (name, content, says) in texts.items():
        (folder / name).write_bytes(content)
        made.append(Input(what, folder / name, says=says))
    (folder / "folder.png").mkdir()
    (folder / "broken.png").symlink_to(folder / "gone.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    made += [
        Input("a folder", folder / "folder.png", says="found a folder"),
        Input("a broken link", folder / "broken.png", says="gone.png, which is not there"),
        Input("a link to itself", folder / "circle.png", says="cannot be opened"),
        Input("no file", folder / "missing.png", says="does not exist"),
        Input("a name that is too long", folder / ("x" * 300 + ".png"), says="cannot be opened"),
        Input("a file as a folder", folder / "plain.png" / "a.png", says="cannot be opened"),
        Input("a device", Path("/dev/zero"), says="a pipe or device"),
    ]
    os.mkfifo(folder / "pipe.png")
    made.append(Input("a pipe that nobody writes to", folder / "pipe.png", says="a pipe or device"))
    if os.getuid() != 0:  # root may read all
        (folder / "closed.png").write_bytes(encoded(LEVELS, "PNG"))
        (folder / "closed.png").chmod(0)
        made.append(Input("no permission", folder / "closed.png", says="Permission denied"))
    return made


def _names(folder: Path) -> list[Input]:
    names = {
        "space": "a b.png", "letters": "Röntgen 影.png", "line end": "two\nlines.png", "dash": "-dash.png",
        "formula": "=1+1.png", "quotes": "a'b\"c,d;e.png", "markup": "<b>&amp;.png", "upper case": "UPPER.PNG",
        "no suffix": "nosuffix",
    }  # fmt: skip
    for name in names.values():
        (folder / name).write_bytes(encoded(LEVELS, "PNG"))
    (folder / "link.png").symlink_to(folder / "plain.png")
    made = [Input(f"name with {what}", folder / name, LEVELS) for what, name in names.items()]
    bytes_name = folder / os.fsdecode(b"latin-\xe4.png")  # as unpacked from an old archive: no UTF-8
    bytes_name.write_bytes(encoded(LEVELS, "PNG"))
    (folder / os.fsdecode(b"bad-\xe4.png")).write_bytes(b"text")
    (folder / "bad\nname.png").write_bytes(b"text")
    return [
        *made,
        Input("name that is no UTF-8", bytes_name, LEVELS),
        Input("text with a name that is no UTF-8", folder / os.fsdecode(b"bad-\xe4.png"), says="no known image format"),
        Input("a link to an image", folder / "link.png", LEVELS),
        Input("text with a line end in the name", folder / "bad\nname.png", says="no known image format"),
    ]


def _dicom(folder: Path) -> list[Input]:
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 8], (np.arange(4096) * 255 // 4095).tolist()
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    signed = (deep(16).astype(np.int32) - 32768).astype(np.int16)
    signed_12 = (deep(12).astype(np.int16) - 2048).astype(np.int16)
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    exact = {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"}
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "8 bit": (LEVELS, {}),
        "16 bit": (deep(16), {}),
        "10 of 16 bits": (deep(10), {"BitsStored": 10}),
        "12 of 16 bits": (deep(12), {"BitsStored": 12}),
        "12 bits, all dark": (deep(12) // 16, {"BitsStored": 12}),
        "signed": (signed, {}),
        "signed 12 of 16 bits": (signed_12, {"BitsStored": 12}),
        "MONOCHROME1": (255 - LEVELS, {"PhotometricInterpretation": "MONOCHROME1"}),
        "MONOCHROME1 of 12 bits with LUT shape": (
            4095 - deep(12),
            {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "PresentationLUTShape": "INVERSE"},
        ),
        "rescale": (deep(12), {"BitsStored": 12, "RescaleSlope": 2.5, "RescaleIntercept": -1000}),
        "negative slope": (4095 - deep(12), {"BitsStored": 12, "RescaleSlope": -1, "RescaleIntercept": 4095}),
        "full window": (deep(12), {"BitsStored": 12, **window}),
        "full exact window": (deep(12), {"BitsStored": 12, **exact}),
        "full window after rescale": (
            deep(12),
            {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 1024, "WindowWidth": 4096},
        ),
        "two windows": (deep(12), {"BitsStored": 12, "WindowCenter": [2048, 9], "WindowWidth": [4096, 5]}),
        "window of width 0": (deep(12), {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 0}),
        "window of unknown function": (deep(12), {"BitsStored": 12, **window, "VOILUTFunction": "CUBIC"}),
        "slope 0": (deep(12), {"BitsStored": 12, "RescaleSlope": 0, "RescaleIntercept": 5}),
        "VOI LUT of 8 bits": (deep(12), {"BitsStored": 12, "VOILUTSequence": [lut]}),
        "RGB": (np.repeat(LEVELS[..., None], 3, -1), {}),
        "RGB by planes": (
            np.repeat(LEVELS[None], 3, 0).reshape(H, W, 3),
            {"PlanarConfiguration": 1},
        ),
        "YBR_FULL": (
            np.dstack([LEVELS, np.full_like(LEVELS, 128), np.full_like(LEVELS, 128)]),
            {"PhotometricInterpretation": "YBR_FULL"},
        ),
        "palette": (255 - LEVELS, _palette()),
    }
    made = []
    for number, (what, (values, elements)) in enumerate(kinds.items()):
        path = write_dicom(folder / f"kind_{number}.dcm", values, **elements)
        expected = {
            "12 bits, all dark": np.rint((deep(12) // 16) * (255 / 4095)).astype(np.uint8),
            "VOI LUT of 8 bits": np.asarray(lut.LUTData, np.uint8)[deep(12)],
        }.get(what, LEVELS)
        made.append(Input(f"DICOM {what}", path, expected))
    return made


def _palette() -> dict[str, Any]:
    entries = (np.arange(255, -1, -1) * 257).astype("<u2").tobytes()
    tables = {f"{colour}PaletteColorLookupTableData": entries for colour in ("Red", "Green", "Blue")}
    descriptors = {f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 16] for colour in ("Red", "Green", "Blue")}
    return {"PhotometricInterpretation": "PALETTE COLOR", **descriptors, **tables}


def _dicom_spacing(folder: Path) -> list[Input]:
    spacings: dict[str, dict[str, Any]] = {
        "negative spacing": {"PixelSpacing": [-0.1, 0.1]},
        "spacing 0": {"ImagerPixelSpacing": [0, 0]},
        "three spacings": {"PixelSpacing": [0.1, 0.1, 0.1]},
        "one spacing": {"PixelSpacing": 0.1},
    }
    made = [
        Input(f"DICOM with {what}", write_dicom(folder / f"{what}.dcm", **elements), LEVELS)
        for what, elements in spacings.items()
    ]
    for what, text in (("NaN", b" nan\\nan "), ("a word", b"one\\tenth")):
        path = write_dicom(folder / f"{what}.dcm", PixelSpacing=[0.25, 0.75])
        made.append(Input(f"DICOM with {what} as spacing", with_text(path, b"0.25\\0.75", text), LEVELS))
    return made


def _dicom_coded(folder: Path) -> list[Input]:
    jpeg = encoded(LEVELS, "JPEG", quality=95)
    shown = np.asarray(Image.open(io.BytesIO(jpeg)))
    j2k = encoded(deep(16), "JPEG2000", no_jp2=True)
    made = [
        Input("DICOM implicit VR", write_dicom(folder / "implicit.dcm", deep(16), ImplicitVRLittleEndian), LEVELS),
        Input("DICOM big endian", write_dicom(folder / "big.dcm", deep(16), ExplicitVRBigEndian), LEVELS),
        Input("DICOM deflated", write_dicom(folder / "deflated.dcm", LEVELS, DeflatedExplicitVRLittleEndian), LEVELS),
        Input("DICOM without suffix", write_dicom(folder / "IM000001"), LEVELS),
        Input("DICOM named by its UID", write_dicom(folder / "1.2.840.113619.2"), LEVELS),
        Input("DICOM named .png", write_dicom(folder / "is_dicom.png"), LEVELS),
        Input(
            "DICOM with baseline JPEG",
            write_dicom(folder / "jpeg.dcm", LEVELS, JPEGBaseline8Bit, PixelData=encapsulate([jpeg])),
            shown,
        ),
        Input(
            "DICOM with JPEG 2000",
            write_dicom(folder / "j2k.dcm", deep(16), JPEG2000Lossless, PixelData=encapsulate([j2k])),
            LEVELS,
        ),
        Input(
            "DICOM with a JPEG that is cut off",
            write_dicom(folder / "jpeg_cut.dcm", LEVELS, JPEGBaseline8Bit, PixelData=encapsulate([jpeg[:-200]])),
            says="cannot be decoded",
        ),
        Input(
            "DICOM with a JPEG of another size",
            write_dicom(folder / "jpeg_size.dcm", LEVELS[:9], JPEGBaseline8Bit, PixelData=encapsulate([jpeg])),
            says="jpeg_size.dcm",
        ),
        Input(
            "DICOM with HTJ2K",
            write_dicom(folder / "htj2k.dcm", LEVELS, HTJ2KLossless, PixelData=encapsulate([j2k])),
            says="1.2.840.10008.1.2.4.201",
        ),
        Input(
            "DICOM with video",
            write_dicom(folder / "video.dcm", LEVELS, MPEG2MPML, PixelData=encapsulate([j2k])),
            says="MPEG",
        ),
        Input("DICOM with RLE", _rle(folder), LEVELS),
        *_without_preamble(folder),
    ]
    try:
        import gdcm  # noqa: F401
    except ImportError:
        return made
    plain = write_dicom(folder / "for_gdcm.dcm", deep(12), BitsStored=12)
    kinds = {"JPEG lossless": "JPEGLosslessProcess14_1", "JPEG-LS": "JPEGLSLossless"}
    claims_more = dcmread(gdcm_compress(plain, folder / "lossless_rows.dcm", kinds["JPEG lossless"]))
    claims_more.Rows = 2 * H  # gdcm 3.2.6 ends the process on it
    claims_more.save_as(folder / "lossless_rows.dcm")
    made.append(
        Input("DICOM with less lossless JPEG than it says", folder / "lossless_rows.dcm", says="cannot be decoded")
    )
    return made + [
        Input(f"DICOM with {what}", gdcm_compress(plain, folder / f"{kind}.dcm", kind), LEVELS)
        for what, kind in kinds.items()
    ]


def _rle(folder: Path) -> Path:
    path = write_dicom(folder / "rle.dcm", deep(16))
    dataset = dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    return path


def _without_preamble(folder: Path) -> list[Input]:
    """Files as older devices write them: from the first element of the header on, or without a header."""
    made = []
    for name, syntax in (("bare.dcm", ImplicitVRLittleEndian), ("bare_explicit", ExplicitVRLittleEndian)):
        whole = write_dicom(folder / f"whole_{name}", deep(16), syntax).read_bytes()
        (folder / f"whole_{name}").unlink()
        (folder / f"meta_{name}").write_bytes(whole[132:])
        made.append(Input(f"DICOM without preamble, {name}", folder / f"meta_{name}", LEVELS))
        (length,) = struct.unpack_from("<I", whole, 140)  # of the header behind this element
        (folder / name).write_bytes(whole[144 + length :])
        made.append(Input(f"DICOM without preamble and header, {name}", folder / name, LEVELS))
    return made


def _dicom_bad(folder: Path) -> list[Input]:
    jpeg = encapsulate([encoded(LEVELS, "JPEG")])
    report = {"PixelData": None, "Rows": None, "Columns": None}
    kinds: dict[str, tuple[dict[str, Any], str]] = {
        "30 frames": ({"NumberOfFrames": 30}, "found 30 frames, expected one image"),
        "0 frames": ({"NumberOfFrames": 0}, "found 0 frames"),
        "two images in place of one": ({"Rows": H // 2}, "expected one image"),
        "no pixels": ({"PixelData": None}, "found no pixels in the DICOM file (Secondary Capture Image Storage)"),
        "a report": ({**report, "SOPClassUID": BasicTextSRStorage}, "found no pixels in the DICOM file (Basic Text SR"),
        "a PDF": (
            {**report, "SOPClassUID": EncapsulatedPDFStorage, "EncapsulatedDocument": b"%PDF"},
            "Encapsulated PDF",
        ),
        "a directory": ({**report, "SOPClassUID": MediaStorageDirectoryStorage}, "Media Storage Directory"),
        "no Rows": ({"Rows": None}, "Rows"),
        "more Rows than pixels": ({"Rows": H + 7}, "pixel data"),
        "Rows 0": ({"Rows": 0}, "has no pixels"),
        "a claim of 4 billion pixels": ({"Rows": 65535, "Columns": 65535}, "claims to be larger"),
        "more bits stored than allocated": ({"BitsStored": 12}, "Bits Stored"),
        "high bit elsewhere": ({"HighBit": 5}, "found HighBit 5"),
        "no BitsStored": ({"BitsStored": None}, "Bits Stored"),
        "32 bits": ({"BitsAllocated": 32, "BitsStored": 32, "Columns": W // 4}, "found 32 bits"),
        "an unknown photometric interpretation": ({"PhotometricInterpretation": "HSV"}, "HSV"),
        "text as photometric interpretation": ({"PhotometricInterpretation": None}, "Photometric Interpretation"),
        "one pixel": ({"Rows": 1, "Columns": 1, "PixelData": b"\x07\0"}, "have the grey 7"),
        "a LUT that is too short": ({"VOILUTSequence": [_short_lut()]}, "lookup table"),
        "JPEG that is not said to be one": ({"PixelData": jpeg}, "pixel data"),
    }
    made = []
    for number, (what, (elements, says)) in enumerate(kinds.items()):
        made.append(Input(f"DICOM with {what}", write_dicom(folder / f"bad_{number}.dcm", **elements), says=says))
    whole = write_dicom(folder / "whole.dcm").read_bytes()
    for share in (5, 12, 20, 60, 99):
        path = folder / f"cut_at_{share}.dcm"
        path.write_bytes(whole[: len(whole) * share // 100])
        made.append(Input(f"DICOM cut at {share} %", path, says=path.name))
    (folder / "noise.dcm").write_bytes(whole[:132] + np.random.default_rng(0).bytes(900))
    return [*made, Input("DICOM of noise", folder / "noise.dcm", says="noise.dcm")]


def _short_lut() -> Dataset:
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [256, 0, 8], [1, 2, 3]
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    return lut
