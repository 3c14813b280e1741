//! What one ELF file needs, is called, and defines: read from its dynamic
//! segment, as the dynamic linker does (section headers may be stripped).

use std::fmt;
use std::fs::File;
use std::str::FromStr;

use object::Endianness;
use object::elf;
use object::read::elf::Dyn as _;
use object::read::elf::FileHeader as _;
use object::read::elf::ProgramHeader as _;
use object::read::{ReadCache, ReadRef, StringTable};

/// What every ELF file begins with.
pub(super) const MAGIC: &[u8] = b"\x7fELF";
/// The size of the smallest ELF header: what is shorter is none.
pub(super) const HEADER_BYTES_MIN: u64 = 64;
/// A dynamic segment has some dozens of entries of 16 bytes.
const DYNAMIC_BYTES_MAX: u64 = 1 << 20;
/// Records of versions that are followed: glibc defines about fifty.
const VERSIONS_MAX: usize = 4096;

/// The dynamic segment's facts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Elf {
    /// Names of the shared objects that it loads.
    pub(super) needed: Vec<String>,
    /// Its own name as a shared object.
    pub(super) soname: Option<String>,
    /// The highest version of glibc among the symbols that it wants.
    pub(super) wants: Option<GlibcVersion>,
    /// The highest version of glibc among the symbols that it defines: glibc's own, for its libc.so.6.
    pub(super) defines: Option<GlibcVersion>,
}

/// `2.34`: the number of a symbol version `GLIBC_2.34`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GlibcVersion(Vec<u32>);

impl FromStr for GlibcVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

impl GlibcVersion {
    /// None for `GLIBC_PRIVATE` and the like, and for other libraries' versions.
    fn of_symbol(version: &[u8]) -> Option<Self> {
        std::str::from_utf8(version.strip_prefix(b"GLIBC_")?)
            .ok()?
            .parse()
            .ok()
    }
}

/// Reads a file of this machine's architecture; none if it is no such ELF file, has no dynamic segment, or is malformed: then it is data.
pub(super) fn read(file: &File) -> Option<Elf> {
    parse(&ReadCache::new(file))
}

fn parse<'data>(data: impl ReadRef<'data>) -> Option<Elf> {
    let header = elf::FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    if header.e_machine(endian) != machine()? {
        return None;
    }
    let segments = header.program_headers(endian, data).ok()?;
    let small = |segment: &&elf::ProgramHeader64<Endianness>| {
        segment.p_type(endian) == elf::PT_DYNAMIC && segment.p_filesz(endian) <= DYNAMIC_BYTES_MAX
    };
    let entries = segments.iter().find(small)?.dynamic(endian, data).ok()??;
    Some(
        Dynamic {
            data,
            endian,
            segments,
            entries,
        }
        .facts(),
    )
}

/// `EM_…` of the machine that this program is for.
fn machine() -> Option<elf::Machine> {
    match std::env::consts::ARCH {
        "x86_64" => Some(elf::EM_X86_64),
        "aarch64" => Some(elf::EM_AARCH64),
        "riscv64" => Some(elf::EM_RISCV),
        "s390x" => Some(elf::EM_S390),
        "powerpc64" => Some(elf::EM_PPC64),
        _ => None,
    }
}

struct Dynamic<'data, R> {
    data: R,
    endian: Endianness,
    segments: &'data [elf::ProgramHeader64<Endianness>],
    entries: &'data [elf::Dyn64<Endianness>],
}

impl<'data, R: ReadRef<'data>> Dynamic<'data, R> {
    fn facts(&self) -> Elf {
        let Some(strings) = self
            .offset_of(elf::DT_STRTAB)
            .map(|start| self.strings(start))
        else {
            return Elf::default();
        };
        let text = |offset: u64| {
            let bytes = strings.get(u32::try_from(offset).ok()?).ok()?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        Elf {
            needed: self.values(elf::DT_NEEDED).filter_map(text).collect(),
            soname: self.values(elf::DT_SONAME).find_map(text),
            wants: self
                .offset_of(elf::DT_VERNEED)
                .and_then(|start| self.wanted(start, strings)),
            defines: self
                .offset_of(elf::DT_VERDEF)
                .and_then(|start| self.defined(start, strings)),
        }
    }

    fn strings(&self, start: u64) -> StringTable<'data, R> {
        let end = self
            .values(elf::DT_STRSZ)
            .next()
            .map_or(start, |size| start.saturating_add(size));
        StringTable::new(self.data, start, end)
    }

    fn values(&self, tag: elf::DynamicTag) -> impl Iterator<Item = u64> {
        let ended = |entry: &&elf::Dyn64<Endianness>| entry.d_tag(self.endian) != elf::DT_NULL;
        self.entries
            .iter()
            .take_while(ended)
            .filter(move |entry| entry.d_tag(self.endian) == tag)
            .map(|entry| entry.d_val(self.endian))
    }

    /// Where in the file the address that this entry holds is loaded from.
    fn offset_of(&self, tag: elf::DynamicTag) -> Option<u64> {
        let address = self.values(tag).next()?;
        self.segments
            .iter()
            .filter(|segment| segment.p_type(self.endian) == elf::PT_LOAD)
            .find_map(|segment| {
                let inside = address.checked_sub(segment.p_vaddr(self.endian))?;
                (inside < segment.p_filesz(self.endian))
                    .then(|| segment.p_offset(self.endian).checked_add(inside))?
            })
    }

    /// `Verneed` records: a library, and the versions that are wanted of it.
    fn wanted(&self, mut at: u64, strings: StringTable<'data, R>) -> Option<GlibcVersion> {
        let mut highest = None;
        for _ in 0..VERSIONS_MAX {
            let Ok(record) = self.data.read_at::<elf::Verneed<Endianness>>(at) else {
                break;
            };
            let mut version_at = at.saturating_add(record.vn_aux.get(self.endian).into());
            for _ in 0..record.vn_cnt.get(self.endian) {
                let Ok(version) = self.data.read_at::<elf::Vernaux<Endianness>>(version_at) else {
                    break;
                };
                highest = highest.max(glibc(strings, version.vna_name.get(self.endian)));
                version_at = version_at.saturating_add(version.vna_next.get(self.endian).into());
            }
            match record.vn_next.get(self.endian) {
                0 => break,
                next => at = at.saturating_add(next.into()),
            }
        }
        highest
    }

    /// `Verdef` records: the versions that it defines; the first name of each is its own, the others its parents'.
    fn defined(&self, mut at: u64, strings: StringTable<'data, R>) -> Option<GlibcVersion> {
        let mut highest = None;
        for _ in 0..VERSIONS_MAX {
            let Ok(record) = self.data.read_at::<elf::Verdef<Endianness>>(at) else {
                break;
            };
            let name_at = at.saturating_add(record.vd_aux.get(self.endian).into());
            if let Ok(name) = self.data.read_at::<elf::Verdaux<Endianness>>(name_at) {
                highest = highest.max(glibc(strings, name.vda_name.get(self.endian)));
            }
            match record.vd_next.get(self.endian) {
                0 => break,
                next => at = at.saturating_add(next.into()),
            }
        }
        highest
    }
}

fn glibc<'data, R: ReadRef<'data>>(
    strings: StringTable<'data, R>,
    name: u32,
) -> Option<GlibcVersion> {
    GlibcVersion::of_symbol(strings.get(name).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_versions_are_numbers() {
        let version = |text: &[u8]| GlibcVersion::of_symbol(text);
        assert!(version(b"GLIBC_2.34") > version(b"GLIBC_2.4"));
        assert!(version(b"GLIBC_2.3.4") > version(b"GLIBC_2.3"));
        assert_eq!(version(b"GLIBC_2.34").unwrap().to_string(), "2.34");
        assert_eq!(
            [
                version(b"GLIBC_PRIVATE"),
                version(b"GLIBCXX_3.4"),
                version(b"GLIBC_")
            ],
            [None, None, None]
        );
    }

    #[test]
    fn this_program_needs_a_libc() {
        let file = File::open("/proc/self/exe").unwrap();
        let elf = read(&file).unwrap();
        assert!(
            elf.needed.iter().any(|needed| needed.contains("libc.")),
            "{elf:?}"
        );
        assert_eq!(elf.soname, None);
        assert_eq!(elf.wants.is_some(), cfg!(target_env = "gnu"));
    }

    #[test]
    fn a_malformed_file_is_data() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let mut start = whole[..64 << 10].to_vec();
        for length in (0..4096).chain([start.len()]) {
            let _ = parse(&start[..length]);
        }
        for at in 0..1024 {
            for value in [0, 1, 0x7f, 0xff] {
                let old = std::mem::replace(&mut start[at], value);
                let _ = parse(&start[..]);
                start[at] = old;
            }
        }
        assert_eq!(parse(&b"\x7fELF"[..]), None);
    }
}
