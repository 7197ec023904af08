"""Where the files of a data set lie under the folder a user names."""

from collections.abc import Sequence
from pathlib import Path

from gormpo_density.errors import DataError

_LISTED = 12


def find_file(
    data_dir: str | Path | None, folder: str, patterns: Sequence[str], what: str
) -> Path:
    """Return the one file of a data set that fits a pattern.

    `data_dir` holds the files themselves, or a folder named after the data set that holds them;
    the latter is looked at first, and earlier patterns before later ones.

    Args:
        data_dir: Folder named by the user.
        folder: Name of the data set's own folder, for instance "nab".
        patterns: Globs below either folder, for instance "data/*/nyc_taxi.csv".
        what: What is looked for, in the words of the error.

    Raises:
        DataError: No folder was named, it does not exist, or no file or more than one fits; what
            is there is listed.
    """
    if data_dir is None:
        raise DataError(f"{what} is needed: name the folder that holds it with data_dir")
    home = Path(data_dir)
    if not home.is_dir():
        raise DataError(f"{home}: no such folder")
    for root in (home / folder, home):
        for pattern in patterns:
            found = sorted(root.glob(pattern))
            if len(found) > 1:
                names = ", ".join(str(path.relative_to(root)) for path in found)
                raise DataError(f"{root}: {what} could be any of {names}")
            if found:
                return found[0]
    root = home / folder if (home / folder).is_dir() else home
    raise DataError(f"{root}: no {what}; it holds {_listing(root)}")


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED]) or 'nothing'}{more}"
