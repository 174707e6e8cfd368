"""Tables of any kind of cells, read whole into a frame."""

import io
import re
import sys
from pathlib import Path

import polars as pl

from pushforward.data.tables import read_table
from pushforward.errors import InputError
from pushforward.words import plural

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": ","}
PACKED = (".gz", ".zst")
PARQUET = (".parquet", ".pq")
ARRAYS = re.compile(r"\.(npy|npz(:[^/\\]*)?)$", re.IGNORECASE)


def read_frame(source: str | Path) -> pl.DataFrame:
    """Read CSV, TSV (packed or not) or Parquet with every cell as it stands; `-` is CSV on standard input. Of arrays
    (NPY, NPZ, see `read_table`) every column is of numbers.

    Cells of delimited text stay text: what they are is found column by column (`columns.spelling`). Blanks around names
    of columns are dropped.

    Raises `InputError` for a file that cannot be read, names no columns or holds no rows, and for columns of one name.
    """
    where = str(source)
    if where == "-":
        frame = _delimited(io.BytesIO(sys.stdin.buffer.read()), ",", "standard input")
    elif ARRAYS.search(where):
        table = read_table(source)
        return pl.DataFrame(dict(zip(table.names, table.values.T.astype(float), strict=True)))
    else:
        path = Path(source)
        suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED]
        suffix = suffixes[-1] if suffixes else ""
        if not path.is_file():
            raise InputError(f"{where}: no such file")
        if suffix in PARQUET:
            try:
                frame = pl.read_parquet(path)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InputError(f"{where}: cannot be read as Parquet ({_first(error)})") from None
        elif suffix in DELIMITERS:
            frame = _delimited(path, DELIMITERS[suffix], where)
        else:
            raise InputError(f"{where}: a table is CSV, TSV, Parquet, NPY or NPZ, by its suffix")
    names = [name.strip() for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: the column name '{twice}' occurs more than once; rename one")
    if len(frame) == 0:
        raise InputError(f"{where}: holds {plural(len(names), 'column')} and no rows")
    frame.columns = names
    return frame


def _delimited(source: Path | io.BytesIO, delimiter: str, where: str) -> pl.DataFrame:
    try:
        return pl.read_csv(source, separator=delimiter, infer_schema=False, encoding="utf8")
    except pl.exceptions.NoDataError:
        raise InputError(f"{where}: is empty") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{where}: cannot be read as a table ({_first(error)})") from None


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
