"""The hardening of the binaries against faults in memory safety, read from the files."""

import pathlib
import platform
import struct

import pytest

from support.servers import stayd_binary

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
EXECUTE, WRITE = 1, 2
ET_DYN = 3
DT_FLAGS, DT_FLAGS_1, DT_TEXTREL = 30, 0x6FFFFFFB, 22
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 8, 1, 0x08000000


class Elf:
    """The program headers and the dynamic section of a 64-bit ELF file."""

    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        assert self.data[:5] == b"\x7fELF\x02", f"{path} is no 64-bit ELF file"
        self.kind, = struct.unpack_from("<H", self.data, 16)
        at, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        self.segments = []
        for number in range(count):
            kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", self.data, at + number * size)
            self.segments.append((kind, flags, offset, length))

    def flags_of(self, kind):
        """The access rights of each segment of this kind."""
        return [flags for one, flags, _, _ in self.segments if one == kind]

    def dynamic(self):
        """The dynamic section: tags and values."""
        (offset, length), = [(offset, length) for kind, _, offset, length in self.segments
                             if kind == PT_DYNAMIC]
        return dict(struct.iter_unpack("<QQ", self.data[offset:offset + length]))


@pytest.fixture(scope="module", params=["stayd", "stayctl"])
def elf(request):
    """Each program that is installed."""
    path = pathlib.Path(stayd_binary()).with_name(request.param)
    if not path.exists():
        pytest.skip(f"{path} is not built here")
    return Elf(path)


@pytest.fixture
def plain(elf):
    """The programs of the fixture above. Skips under a sanitizer, which replaces some of the hardening."""
    if b"__asan_" in elf.data or b"__tsan_" in elf.data:
        pytest.skip("a sanitizer's build")
    return elf


def test_the_program_lies_at_a_random_address(elf):
    assert elf.kind == ET_DYN
    assert elf.dynamic()[DT_FLAGS_1] & DF_1_PIE
    assert DT_TEXTREL not in elf.dynamic()


def test_the_table_of_functions_is_complete_and_read_only_when_the_program_starts(elf):
    assert elf.flags_of(PT_GNU_RELRO)
    assert elf.dynamic().get(DT_FLAGS, 0) & DF_BIND_NOW or elf.dynamic()[DT_FLAGS_1] & DF_1_NOW


def test_nothing_can_be_written_and_run(elf):
    assert [flags & EXECUTE for flags in elf.flags_of(PT_GNU_STACK)] == [0]
    assert not [flags for flags in elf.flags_of(PT_LOAD) if flags & EXECUTE and flags & WRITE]


def test_functions_with_buffers_check_their_stack(elf):
    assert b"\0__stack_chk_fail\0" in elf.data


def test_copies_into_buffers_of_known_size_are_checked(plain):
    assert b"_chk\0" in plain.data.replace(b"__stack_chk_fail", b"")
    assert b"\0__snprintf_chk\0" in plain.data


@pytest.mark.skipif(platform.machine() != "x86_64", reason="endbr64 is an instruction of x86-64")
def test_indirect_branches_land_only_where_functions_begin(elf):
    endbr64 = b"\xf3\x0f\x1e\xfa"
    code = [elf.data[offset:offset + length] for kind, flags, offset, length in elf.segments
            if kind == PT_LOAD and flags & EXECUTE]
    assert sum(piece.count(endbr64) for piece in code) > 100
