//! The entries of a tar, read strictly: ustar, PAX and GNU headers with limits.
//! What two readers could understand differently is refused. Never fails by
//! panicking, never takes memory that the limits do not allow.

use std::io::{self, BufRead};

use super::ArchiveError;
use super::error::Refusal;
use super::limits::{
    ENTRIES_MAX, FOREIGN_BYTES_MAX, FOREIGN_ENTRIES_MAX, HEADER_BODY_BYTES_MAX, LINK_BYTES_MAX,
};
use super::name::check_name;
use super::pax;
use super::tar_header::{BLOCK, Kind, checksum};
use crate::sys::attributes::Attribute;

/// What stands for the name of an entry that could not be read so far.
const NO_NAME: &[u8] = b"?";

/// An entry. The bytes of a file follow, and are to be read or skipped before the next entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// Relative and canonical, without a trailing `/`.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits alone.
    pub(super) mode: u32,
    /// Bytes of a file; zero for all else.
    pub(super) size: u64,
    /// The target of a link, checked for a hard link as a name is; empty for all else.
    pub(super) link: Vec<u8>,
    /// Of the namespace `user`.
    pub(super) attributes: Vec<Attribute>,
}

impl Entry {
    /// A folder.
    pub(super) fn folder(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            kind: Kind::Folder,
            mode: 0o755,
            size: 0,
            link: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

/// Reads entries from bytes that are buffered in large chunks.
pub(super) struct Entries<R> {
    tar: R,
    /// How many bytes the whole archive may have.
    bytes_max: u64,
    bytes: u64,
    /// Of the file that was given out last: bytes that were not read, and padding.
    body_left: u64,
    padding_left: u64,
    count: u64,
    last_name: Vec<u8>,
    author: Author,
}

/// Who wrote the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Author {
    /// `slug`: every name has its one spelling, and the length is known.
    Slug,
    /// Somebody else: names may begin with `./` or `/`, the root itself may be an entry, and the length is bounded.
    Other,
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extension {
    pax: Option<pax::Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> Entries<R> {
    /// Of an archive that slug wrote, with so many bytes.
    pub(super) fn new(tar: R, bytes: u64) -> Self {
        Self::of(tar, bytes, Author::Slug)
    }

    /// Of an archive that others wrote: what is spelt in another way is read all the same, what is unsafe is not.
    pub(super) fn of_others(tar: R) -> Self {
        Self::of(tar, FOREIGN_BYTES_MAX, Author::Other)
    }

    fn of(tar: R, bytes_max: u64, author: Author) -> Self {
        Self {
            tar,
            bytes_max,
            bytes: 0,
            body_left: 0,
            padding_left: 0,
            count: 0,
            last_name: NO_NAME.to_vec(),
            author,
        }
    }

    /// The next entry; none at the end, after which nothing may follow but zeros.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip_body()?;
        let mut extension = Extension::default();
        loop {
            let header = self.block()?;
            if header == [0; BLOCK] {
                return self.end(&extension).map(|()| None);
            }
            let name = printed_name(&header);
            self.last_name.clone_from(&name);
            let refused = |why| ArchiveError::Refused {
                entry: name.clone(),
                why,
            };
            if parse_octal(&header[148..156]) != Some(u64::from(checksum(&header))) {
                return Err(refused(Refusal::Checksum));
            }
            let size = parse_size(&header[124..136]).ok_or_else(|| refused(Refusal::BadSize))?;
            match header[156] {
                b'x' => {
                    set(&mut extension.pax, self.pax_header(size, &refused)?).map_err(refused)?;
                }
                b'g' => self.global_header(size, &refused)?,
                b'L' => set(&mut extension.long_name, self.gnu_name(size, &refused)?)
                    .map_err(refused)?,
                b'K' => set(&mut extension.long_link, self.gnu_name(size, &refused)?)
                    .map_err(refused)?,
                flag => {
                    let extension = std::mem::take(&mut extension);
                    let entry = self.entry(&header, flag, size, extension)?;
                    if !entry.name.is_empty() {
                        return Ok(Some(entry));
                    }
                }
            }
        }
    }

    /// Some bytes of the file that `next` gave last; empty at its end.
    pub(super) fn body(&mut self) -> Result<&[u8], ArchiveError> {
        if self.body_left == 0 {
            return Ok(&[]);
        }
        let last_name = &self.last_name;
        let bytes = self
            .tar
            .fill_buf()
            .map_err(|error| broken(last_name, &error))?;
        if bytes.is_empty() {
            return Err(ArchiveError::Refused {
                entry: last_name.clone(),
                why: Refusal::Truncated,
            });
        }
        let count =
            usize::try_from(self.body_left).map_or(bytes.len(), |left| left.min(bytes.len()));
        Ok(&bytes[..count])
    }

    /// So many bytes of what `body` gave are done with.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.tar.consume(bytes);
        self.body_left -= bytes as u64;
        self.bytes += bytes as u64;
    }

    /// Bytes of the archive so far.
    pub(super) fn position(&self) -> u64 {
        self.bytes
    }

    fn skip_body(&mut self) -> Result<(), ArchiveError> {
        loop {
            let count = self.body()?.len();
            if count == 0 {
                break;
            }
            self.consume(count);
        }
        let count = usize::try_from(std::mem::take(&mut self.padding_left)).unwrap_or_default();
        self.fill_padding(count)
    }

    /// What fills the last block says nothing; two archives that differ in it would be one to all readers.
    fn fill_padding(&mut self, count: usize) -> Result<(), ArchiveError> {
        let mut padding = [0; BLOCK];
        self.fill(&mut padding[..count])?;
        if padding == [0; BLOCK] {
            Ok(())
        } else {
            Err(self.refused(Refusal::Padding))
        }
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        flag: u8,
        size: u64,
        extension: Extension,
    ) -> Result<Entry, ArchiveError> {
        let Extension {
            pax,
            long_name,
            long_link,
        } = extension;
        let pax = pax.unwrap_or_default();
        let in_header = printed_name(header);
        let two_names = (pax.path.is_some() && long_name.is_some())
            || (pax.linkpath.is_some() && long_link.is_some());
        let mut name = pax.path.or(long_name).unwrap_or(in_header);
        let link = pax
            .linkpath
            .or(long_link)
            .unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
        self.last_name.clone_from(&name);
        let entry = name.clone();
        let refused = |why| ArchiveError::Refused {
            entry: entry.clone(),
            why,
        };
        if two_names {
            return Err(refused(Refusal::TwoNames));
        }
        self.count += 1;
        if self.count > FOREIGN_ENTRIES_MAX && self.author == Author::Other {
            return Err(refused(Refusal::TooManyForeign));
        }
        if self.count > ENTRIES_MAX {
            return Err(refused(Refusal::TooManyEntries));
        }
        let kind = kind_of(flag).map_err(refused)?;
        let slash = name.last() == Some(&b'/');
        match kind {
            Kind::Folder if slash => _ = name.pop(),
            Kind::File if slash => return Err(refused(Refusal::TrailingSlash { kind: "file" })),
            Kind::HardLink | Kind::Symlink if slash => {
                return Err(refused(Refusal::TrailingSlash { kind: "link" }));
            }
            _ => {}
        }
        let (name, link) = self.spelled(kind, name, link);
        if !(name.is_empty() && kind == Kind::Folder && self.author == Author::Other) {
            check_name(&name).map_err(refused)?;
        }
        check_link(kind, &link).map_err(refused)?;
        if matches!(kind, Kind::HardLink | Kind::Symlink) && !pax.attributes.is_empty() {
            return Err(refused(Refusal::AttributeOfLink));
        }
        let size = one_size(size, pax.size).map_err(refused)?;
        self.start_body(kind, size).map_err(refused)?;
        let mode = parse_octal(&header[100..108]).ok_or_else(|| refused(Refusal::BadMode))?;
        Ok(Entry {
            name,
            kind,
            mode: u32::try_from(mode & 0o777).unwrap_or_default(),
            size,
            link,
            attributes: pax.attributes,
        })
    }

    /// The one spelling of a name, and of a hard link's target.
    fn spelled(&self, kind: Kind, name: Vec<u8>, link: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        match (self.author, kind) {
            (Author::Slug, _) => (name, link),
            (Author::Other, Kind::HardLink) => (canonical(&name), canonical(&link)),
            (Author::Other, _) => (canonical(&name), link),
        }
    }

    fn start_body(&mut self, kind: Kind, size: u64) -> Result<(), Refusal> {
        if kind != Kind::File && size != 0 {
            return Err(Refusal::SizeOfNoFile { size });
        }
        self.check_size(size)?;
        self.body_left = size;
        self.padding_left = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// Whatever is claimed must fit into the archive: before it is read, and before anything is reserved for it.
    fn check_size(&self, size: u64) -> Result<(), Refusal> {
        let left = self.bytes_max.saturating_sub(self.bytes);
        match self.author {
            _ if size <= left => Ok(()),
            Author::Slug => Err(Refusal::Oversize { size, left }),
            Author::Other => Err(Refusal::TooManyBytes),
        }
    }

    fn pax_header(
        &mut self,
        size: u64,
        refused: &impl Fn(Refusal) -> ArchiveError,
    ) -> Result<pax::Records, ArchiveError> {
        let body = self.header_body(size, refused)?;
        pax::parse(&body).map_err(refused)
    }

    /// A global header may say what is of no consequence (a comment, as `git archive` writes), never what an entry is.
    fn global_header(
        &mut self,
        size: u64,
        refused: &impl Fn(Refusal) -> ArchiveError,
    ) -> Result<(), ArchiveError> {
        let records = self.pax_header(size, refused)?;
        let said = [
            ("path", records.path.is_some()),
            ("linkpath", records.linkpath.is_some()),
            ("size", records.size.is_some()),
            ("SCHILY.xattr", !records.attributes.is_empty()),
        ];
        match said.iter().find(|(_, said)| *said) {
            Some((key, _)) => Err(refused(Refusal::GlobalPax {
                key: (*key).to_owned(),
            })),
            None => Ok(()),
        }
    }

    /// GNU's form of a long name: the bytes, and a NUL.
    fn gnu_name(
        &mut self,
        size: u64,
        refused: &impl Fn(Refusal) -> ArchiveError,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.header_body(size, refused)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        if name.contains(&0) {
            Err(refused(Refusal::Nul))
        } else {
            Ok(name)
        }
    }

    fn header_body(
        &mut self,
        size: u64,
        refused: &impl Fn(Refusal) -> ArchiveError,
    ) -> Result<Vec<u8>, ArchiveError> {
        if size > HEADER_BODY_BYTES_MAX {
            return Err(refused(Refusal::LongHeader { size }));
        }
        self.check_size(size).map_err(refused)?;
        let size = usize::try_from(size).unwrap_or_default();
        let mut body = vec![0; size];
        self.fill(&mut body)?;
        self.fill_padding(size.next_multiple_of(BLOCK) - size)?;
        Ok(body)
    }

    /// The second block of the end mark, and then zeros until the last byte.
    fn end(&mut self, extension: &Extension) -> Result<(), ArchiveError> {
        if extension.pax.is_some() || extension.long_name.is_some() || extension.long_link.is_some()
        {
            return Err(self.refused(Refusal::Truncated));
        }
        let mut second = [0; BLOCK];
        if !self.fill_unless_ended(&mut second)? {
            return Err(self.refused(Refusal::NoEnd));
        }
        let mut zero = second == [0; BLOCK];
        while zero {
            let bytes = self
                .tar
                .fill_buf()
                .map_err(|error| broken(&self.last_name, &error))?;
            if bytes.is_empty() {
                return self.check_length();
            }
            zero = bytes.iter().all(|byte| *byte == 0);
            let count = bytes.len();
            self.took(count)?;
        }
        Err(self.refused(Refusal::AfterEnd))
    }

    fn check_length(&self) -> Result<(), ArchiveError> {
        if self.bytes == self.bytes_max || self.author == Author::Other {
            return Ok(());
        }
        Err(self.refused(Refusal::TarBytes {
            expected: self.bytes_max,
            actual: self.bytes,
        }))
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        if self.fill_unless_ended(&mut block)? {
            return Ok(block);
        }
        Err(self.refused(Refusal::NoEnd))
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), ArchiveError> {
        if into.is_empty() || self.fill_unless_ended(into)? {
            return Ok(());
        }
        Err(self.refused(Refusal::Truncated))
    }

    /// False if the archive ended before the first of these bytes.
    fn fill_unless_ended(&mut self, into: &mut [u8]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < into.len() {
            let bytes = self
                .tar
                .fill_buf()
                .map_err(|error| broken(&self.last_name, &error))?;
            let count = bytes.len().min(into.len() - filled);
            if count == 0 && filled == 0 {
                return Ok(false);
            }
            if count == 0 {
                return Err(self.refused(Refusal::Truncated));
            }
            into[filled..filled + count].copy_from_slice(&bytes[..count]);
            self.took(count)?;
            filled += count;
        }
        Ok(true)
    }

    fn took(&mut self, bytes: usize) -> Result<(), ArchiveError> {
        self.tar.consume(bytes);
        self.bytes += bytes as u64;
        if self.bytes > self.bytes_max && self.author == Author::Other {
            return Err(self.refused(Refusal::TooManyBytes));
        }
        if self.bytes > self.bytes_max {
            return Err(self.refused(Refusal::TarBytes {
                expected: self.bytes_max,
                actual: self.bytes,
            }));
        }
        Ok(())
    }

    fn refused(&self, why: Refusal) -> ArchiveError {
        ArchiveError::Refused {
            entry: self.last_name.clone(),
            why,
        }
    }
}

/// What the reader under the tar reports: a `Refusal` that travelled through `io::Error`, or a read that failed.
fn broken(entry: &[u8], error: &io::Error) -> ArchiveError {
    let why = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Refusal>())
        .cloned();
    let why = why.unwrap_or_else(|| Refusal::Unreadable(error.to_string()));
    ArchiveError::Refused {
        entry: entry.to_vec(),
        why,
    }
}

/// Without what says nothing: a leading `/`, `.` and empty components.
fn canonical(name: &[u8]) -> Vec<u8> {
    let components = name
        .split(|byte| *byte == b'/')
        .filter(|component| !component.is_empty() && *component != b".");
    components.collect::<Vec<_>>().join(&b'/')
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match place.replace(value) {
        Some(_) => Err(Refusal::RepeatedHeader),
        None => Ok(()),
    }
}

fn kind_of(flag: u8) -> Result<Kind, Refusal> {
    match flag {
        // 7 is a file that shall lie in one piece: a file to everybody.
        b'0' | 0 | b'7' => Ok(Kind::File),
        b'1' => Ok(Kind::HardLink),
        b'2' => Ok(Kind::Symlink),
        b'5' => Ok(Kind::Folder),
        b'S' => Err(Refusal::Sparse),
        flag => Err(Refusal::Type { flag }),
    }
}

/// A symbolic link is data: whatever it says, it is never followed here. A hard link names an entry.
fn check_link(kind: Kind, link: &[u8]) -> Result<(), Refusal> {
    match kind {
        Kind::HardLink | Kind::Symlink if link.is_empty() => Err(Refusal::EmptyTarget),
        Kind::HardLink => check_name(link).map_err(|why| Refusal::Target {
            target: link.to_vec(),
            why: Box::new(why),
        }),
        Kind::Symlink if link.len() > LINK_BYTES_MAX => {
            Err(Refusal::LongTarget { bytes: link.len() })
        }
        Kind::File | Kind::Folder | Kind::Symlink => Ok(()),
    }
}

/// A header that leaves the size to PAX says zero; two sizes that differ are two files to two readers (CVE-2025-62518).
fn one_size(header: u64, pax: Option<u64>) -> Result<u64, Refusal> {
    match pax {
        None => Ok(header),
        Some(pax) if header == 0 || header == pax => Ok(pax),
        Some(pax) => Err(Refusal::TwoSizes { header, pax }),
    }
}

/// The name in the header, with its ustar prefix.
fn printed_name(header: &[u8; BLOCK]) -> Vec<u8> {
    let prefix = if &header[257..263] == b"ustar\0" {
        until_nul(&header[345..500])
    } else {
        b""
    };
    let mut name = prefix.to_vec();
    if !prefix.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(until_nul(&header[..100]));
    name
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits, or GNU's base-256 for what they cannot say; none if negative or beyond 63 bits.
fn parse_size(field: &[u8]) -> Option<u64> {
    match field.first()? {
        0x80 => {
            let (high, low) = field[1..].split_at(field.len() - 9);
            let number = u64::from_be_bytes(low.try_into().ok()?);
            (high.iter().all(|byte| *byte == 0) && i64::try_from(number).is_ok()).then_some(number)
        }
        _ => parse_octal(field),
    }
}

/// Octal digits between blanks, ended by a NUL or a blank; no digits are zero, as old archives leave fields empty.
fn parse_octal(field: &[u8]) -> Option<u64> {
    let field = until_nul(field).trim_ascii();
    field.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
