//! Canonical tar headers: ustar, with a PAX header where ustar cannot say it.
//! Time 1980-01-01T00:00:01Z, owner 0, no names: the same entry, the same bytes.

use crate::sys::attributes::Attribute;

/// A tar block.
pub(super) const BLOCK: usize = 512;

/// 1980-01-01T00:00:01Z: zip, which pip and jar write, cannot hold earlier dates; the second is what
/// lifecycle uses for every layer entry.
pub(super) const MTIME_S: u64 = 315_532_801;

/// Before an attribute's name in a PAX record: what star began with, and GNU tar, podman and umoci read.
pub(super) const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// The first size that eleven octal digits cannot say.
const USTAR_SIZE_END: u64 = 1 << 33;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Folder,
}

impl Kind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::Folder => b'5',
        }
    }
}

/// An entry to be written.
#[derive(Debug)]
pub(super) struct Header<'a> {
    /// Relative; a folder's ends with `/`.
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    pub(super) mode: u32,
    /// Bytes of a file; zero for all else.
    pub(super) size: u64,
    /// The target of a link; empty for all else.
    pub(super) link: &'a [u8],
    /// In the order of their names.
    pub(super) attributes: &'a [Attribute],
}

impl Header<'_> {
    /// Appends the header's blocks.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        if !fits(self.name) {
            pax_record(&mut records, b"path", self.name);
        }
        if !fits(self.link) {
            pax_record(&mut records, b"linkpath", self.link);
        }
        let mut size = self.size;
        if size >= USTAR_SIZE_END {
            pax_record(&mut records, b"size", size.to_string().as_bytes());
            size = 0;
        }
        for Attribute { name, value } in self.attributes {
            pax_record(&mut records, &[ATTRIBUTE, name].concat(), value);
        }
        if !records.is_empty() {
            block(out, b"PaxHeader", b'x', 0o644, records.len() as u64, b"");
            out.extend_from_slice(&records);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        block(out, self.name, self.kind.flag(), self.mode, size, self.link);
    }
}

/// ustar names are ASCII (POSIX, pax, "ustar Interchange Format"): what is longer, or is not, goes into a PAX record.
fn fits(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

/// `LENGTH key=value\n`, where LENGTH counts itself.
pub(super) fn pax_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest > length {
        length += 1;
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn block(out: &mut Vec<u8>, name: &[u8], flag: u8, mode: u32, size: u64, link: &[u8]) {
    let mut header = [0_u8; BLOCK];
    put_name(&mut header[..100], name);
    put_octal(&mut header[100..108], u64::from(mode));
    put_octal(&mut header[108..116], 0);
    put_octal(&mut header[116..124], 0);
    put_octal(&mut header[124..136], size);
    put_octal(&mut header[136..148], MTIME_S);
    header[156] = flag;
    put_name(&mut header[157..257], link);
    header[257..265].copy_from_slice(b"ustar\x0000");
    put_octal(&mut header[329..337], 0);
    put_octal(&mut header[337..345], 0);
    let sum = checksum(&header);
    put_octal(&mut header[148..155], u64::from(sum));
    header[155] = b' ';
    out.extend_from_slice(&header);
}

/// The sum of all bytes, with the checksum's own field as blanks.
pub(super) fn checksum(header: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&header[..148]) + 8 * u32::from(b' ') + sum(&header[156..])
}

/// What of a name a reader without PAX may see.
fn put_name(field: &mut [u8], name: &[u8]) {
    for (to, from) in field.iter_mut().zip(name) {
        *to = if from.is_ascii() { *from } else { b'_' };
    }
}

/// Zero-padded octal digits and a NUL.
fn put_octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + u8::try_from(value & 7).unwrap_or_default();
        value >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_pax_record_counts_itself() {
        for value_length in [1, 2, 89, 90, 91, 92, 980, 988, 989, 990, 991, 9980, 9989] {
            let mut record = Vec::new();
            pax_record(&mut record, b"path", &vec![b'a'; value_length]);
            let text = String::from_utf8(record).unwrap();
            let (length, _) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn what_ustar_can_say_needs_no_pax_header() {
        let blocks_with = |name: &[u8], size, link: &[u8], attributes: &[Attribute]| {
            let mut out = Vec::new();
            Header {
                name,
                kind: Kind::File,
                mode: 0o644,
                size,
                link,
                attributes,
            }
            .write(&mut out);
            out.len() / BLOCK
        };
        let blocks = |name: &[u8], size, link: &[u8]| blocks_with(name, size, link, &[]);
        assert_eq!(blocks(&[b'a'; 100], USTAR_SIZE_END - 1, b""), 1);
        assert_eq!(blocks(&[b'a'; 101], 0, b""), 3);
        assert_eq!(blocks("é".as_bytes(), 0, b""), 3);
        assert_eq!(blocks(b"a", USTAR_SIZE_END, b""), 3);
        assert_eq!(blocks(b"a", 0, &[b'b'; 101]), 3);
        let attribute = Attribute {
            name: b"user.a".to_vec(),
            value: b"\0".to_vec(),
        };
        assert_eq!(blocks_with(b"a", 0, b"", &[attribute]), 3);
    }
}
