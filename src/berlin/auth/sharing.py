"""Which permissions of a file belong to others than its user."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path


def shared_bits(file: Path | int, status: os.stat_result) -> int:
    """Return the permission bits of a file that others than this user have.

    The group's do not count if it is this user's private group: Debian and Fedora give each user
    one, and a umask of 002 that makes every file writable by it.

    Args:
        file: its path, or an open descriptor.
        status: its status.
    """
    if os.name != "posix":
        return 0
    bits = stat.S_IMODE(status.st_mode) & 0o077
    if bits & 0o070 and _is_private_group(status.st_gid) and not _has_access_list(file):
        bits &= 0o007
    return bits


@lru_cache(maxsize=64)
def _is_private_group(gid: int) -> bool:
    """Whether a group is named like this user, and has no other members."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return (
        user.pw_gid == gid
        and user.pw_name == group.gr_name
        and set(group.gr_mem) <= {user.pw_name}
        and all(each.pw_uid == user.pw_uid for each in pwd.getpwall() if each.pw_gid == gid)
    )


def _has_access_list(file: Path | int) -> bool:
    """Whether others are named in an access control list: the group's bits are then their limit."""
    try:
        return "system.posix_acl_access" in os.listxattr(file)
    except (AttributeError, OSError):  # not on this system, or not in this file system
        return False
