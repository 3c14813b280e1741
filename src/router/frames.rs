//! Where the frames of a websocket begin and end (RFC 6455, 5.2), so that a close
//! frame can be put between two. Payloads are not looked at.

/// The longest head of a frame: two bytes, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;
/// The opcode of a close frame.
const CLOSE: u8 = 0x8;
/// What the router says when it ends a websocket: code 1001, "going away" (RFC 6455, 7.4.1), unmasked, as a server's
/// frames are.
pub(super) const GOING_AWAY: [u8; 4] = [0x80 | CLOSE, 2, 0x03, 0xE9];

/// One direction of a websocket.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    /// How many bytes of the head have come; none while a payload is under way.
    head_bytes: usize,
    /// What is still to come of the payload.
    left: u64,
    is_close: bool,
    has_closed: bool,
}

impl Frames {
    /// Takes all of these bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Takes bytes up to the first end of a frame; says how many.
    pub(super) fn pass_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_at_boundary() {
            at += self.step(&bytes[at..]);
        }
        at
    }

    /// Has the frame that began last come whole?
    pub(super) fn is_at_boundary(&self) -> bool {
        self.head_bytes == 0 && self.left == 0
    }

    /// Has a whole close frame come?
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// One byte of a head, or all there is of a payload.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 1;
        if self.left > 0 {
            taken = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.left -= taken as u64;
        } else {
            self.head[self.head_bytes] = bytes[0];
            self.head_bytes += 1;
            let Some(length) = length(&self.head[..self.head_bytes]) else {
                return taken;
            };
            (self.head_bytes, self.left) = (0, length);
            self.is_close = self.head[0] & 0x0F == CLOSE;
        }
        self.has_closed |= self.is_close && self.left == 0;
        taken
    }
}

/// The length of the payload, once the head is whole.
fn length(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
    let (length_bytes, short) = match second & 0x7F {
        126 => (2, None),
        127 => (8, None),
        short => (0, Some(u64::from(short))),
    };
    (head.len() == 2 + length_bytes + mask_bytes).then(|| {
        let extended = head[2..2 + length_bytes].iter();
        short.unwrap_or_else(|| extended.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with a payload of so many bytes.
    fn frame(opcode: u8, payload: usize, is_masked: bool) -> Vec<u8> {
        let mask: u8 = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload {
            0..126 => frame.push(mask + u8::try_from(payload).unwrap()),
            126..65536 => {
                frame.push(mask + 126);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask + 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(
            0x88,
            payload + if is_masked { 4 } else { 0 },
        ));
        frame
    }

    #[test]
    fn a_close_frame_is_seen_when_it_is_whole_and_no_payload_is_taken_for_one() {
        let mut frames = Frames::default();
        frames.pass(&frame(1, 300, false));
        assert!(frames.is_at_boundary() && !frames.has_closed());
        frames.pass(&GOING_AWAY[..3]);
        assert!(!frames.is_at_boundary() && !frames.has_closed());
        frames.pass(&GOING_AWAY[3..]);
        assert!(frames.is_at_boundary() && frames.has_closed());
        let mut frames = Frames::default();
        frames.pass(&frame(CLOSE, 0, true));
        assert!(frames.has_closed());
    }

    proptest! {
        #[test]
        fn each_boundary_is_found_however_the_reads_fall(
            sizes in proptest::collection::vec((0usize..70_000, any::<bool>()), 1..6),
            piece in 1usize..5000,
        ) {
            let all: Vec<Vec<u8>> = sizes.iter().map(|(size, masked)| frame(2, *size, *masked)).collect();
            let bytes = all.concat();
            let mut frames = Frames::default();
            let mut ends = Vec::new();
            let mut passed = 0;
            for piece in bytes.chunks(piece) {
                let mut at = 0;
                while at < piece.len() {
                    // The first byte of a frame leaves the boundary.
                    frames.pass(&piece[at..=at]);
                    at += 1;
                    at += frames.pass_to_boundary(&piece[at..]);
                    if frames.is_at_boundary() {
                        ends.push(passed + at);
                    }
                }
                passed += piece.len();
            }
            let expected: Vec<usize> = all.iter().scan(0, |sum, frame| { *sum += frame.len(); Some(*sum) }).collect();
            prop_assert_eq!(ends, expected);
            prop_assert!(!frames.has_closed());
        }
    }
}
