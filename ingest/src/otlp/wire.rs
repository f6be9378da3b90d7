//! Protobuf's wire format, read in place: a reader hands out numbers and slices, and copies nothing.

/// A piece of the message. Positions are 32 bits wide: longer messages are refused before they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    start: u32,
    end: u32,
}

impl Slice {
    /// All of a message.
    pub(super) fn whole(data: &[u8]) -> Self {
        Self { start: 0, end: u32::try_from(data.len()).unwrap_or(u32::MAX) }
    }

    /// The bytes of the piece in the message it came from.
    #[inline]
    pub(crate) fn of(self, data: &[u8]) -> &[u8] {
        data.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Bytes of the piece.
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// This piece and the one behind it as one; `None` if something stands between the two.
    pub(crate) fn joined(self, next: Self) -> Option<Self> {
        (self.end == next.start).then_some(Self { start: self.start, end: next.end })
    }

    /// Where the piece begins in the message.
    pub(super) fn at(self) -> usize {
        self.start as usize
    }
}

/// An attribute whose value is a string, with all lengths in one byte: nearly every one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShortPair {
    pub(super) key: Slice,
    /// The `AnyValue`.
    pub(super) value: Slice,
    /// The string in it.
    pub(super) text: Slice,
}

impl ShortPair {
    /// Reads a `KeyValue` in one look. `None` says only that it has to be read field by field.
    #[inline]
    pub(super) fn read(data: &[u8], pair: Slice) -> Option<Self> {
        const KEY: u8 = 0x0a; // field 1, length-delimited
        const VALUE: u8 = 0x12; // field 2, length-delimited
        const STRING_VALUE: u8 = 0x0a; // field 1 of AnyValue
        let [KEY, key_length @ 0..0x80, rest @ ..] = pair.of(data) else { return None };
        let (_, rest) = rest.split_at_checked(usize::from(*key_length))?;
        let [VALUE, value_length @ 0..0x80, value @ ..] = rest else { return None };
        let [STRING_VALUE, text_length @ 0..0x80, text @ ..] = value else { return None };
        if value.len() != usize::from(*value_length) || text.len() != usize::from(*text_length) {
            return None;
        }
        let end = pair.end;
        let key = Slice { start: pair.start + 2, end: pair.start + 2 + u32::from(*key_length) };
        let text = Slice { start: end - u32::from(*text_length), end };
        Some(Self { key, value: Slice { start: text.start - 2, end }, text })
    }
}

/// What is wrong with the bytes, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct WireError {
    /// Position in the message.
    pub at: usize,
    /// What is wrong there.
    pub kind: WireErrorKind,
}

/// The ways in which bytes are not protobuf, or not the protobuf that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireErrorKind {
    /// The message ends within a field.
    #[error("the message is cut off")]
    CutOff,
    /// A variable-length number of more than ten bytes, or a field number above 2^29.
    #[error("a number is too long")]
    LongNumber,
    /// Wire types 3 and 4 (groups, which OTLP never had) and 6 and 7 (undefined).
    #[error("illegal wire type {0}")]
    WireType(u8),
    /// Field numbers begin with 1.
    #[error("field number 0")]
    FieldZero,
    /// A known field has another wire type than the schema says.
    #[error("wire type {wire_type} in field {number}, which has another type")]
    FieldType {
        /// Number of the field.
        number: u32,
        /// The wire type met.
        wire_type: u8,
    },
    /// Attribute values are nested too deeply.
    #[error("attribute values nested deeper than {0} levels")]
    Depth(usize),
}

/// A field: its number and its undecoded value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    at: u32,
    value: Wire,
}

#[derive(Clone, Copy, Debug)]
enum Wire {
    Varint(u64),
    Fixed64(u64),
    Bytes(Slice),
    Fixed32(u32),
}

impl Field {
    #[cold]
    fn mismatch(&self) -> WireError {
        let wire_type = match self.value {
            Wire::Varint(_) => 0,
            Wire::Fixed64(_) => 1,
            Wire::Bytes(_) => 2,
            Wire::Fixed32(_) => 5,
        };
        WireError { at: self.at as usize, kind: WireErrorKind::FieldType { number: self.number, wire_type } }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> Result<Slice, WireError> {
        if let Wire::Bytes(slice) = self.value { Ok(slice) } else { Err(self.mismatch()) }
    }

    #[inline]
    pub(super) fn varint(&self) -> Result<u64, WireError> {
        if let Wire::Varint(number) = self.value { Ok(number) } else { Err(self.mismatch()) }
    }

    /// `int32`, `uint32` and enumerations: the low 32 bits, as protobuf says.
    #[inline]
    pub(super) fn int32(&self) -> Result<i32, WireError> {
        Ok(self.varint()? as i32)
    }

    #[inline]
    pub(super) fn uint32(&self) -> Result<u32, WireError> {
        Ok(self.varint()? as u32)
    }

    /// `sint32`: zigzag.
    #[inline]
    pub(super) fn sint32(&self) -> Result<i32, WireError> {
        let number = self.uint32()?;
        Ok((number >> 1) as i32 ^ -((number & 1) as i32))
    }

    #[inline]
    pub(super) fn fixed64(&self) -> Result<u64, WireError> {
        if let Wire::Fixed64(number) = self.value { Ok(number) } else { Err(self.mismatch()) }
    }

    #[inline]
    pub(super) fn fixed32(&self) -> Result<u32, WireError> {
        if let Wire::Fixed32(number) = self.value { Ok(number) } else { Err(self.mismatch()) }
    }

    #[inline]
    pub(super) fn double(&self) -> Result<f64, WireError> {
        Ok(f64::from_bits(self.fixed64()?))
    }

    /// One element or a packed run of `fixed64`, each handed to `each`.
    pub(super) fn fixed64s(&self, data: &[u8], mut each: impl FnMut(u64)) -> Result<(), WireError> {
        match self.value {
            Wire::Fixed64(number) => each(number),
            Wire::Bytes(slice) => {
                let (numbers, rest) = slice.of(data).as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(WireError { at: slice.end as usize, kind: WireErrorKind::CutOff });
                }
                numbers.iter().for_each(|number| each(u64::from_le_bytes(*number)));
            }
            _ => return Err(self.mismatch()),
        }
        Ok(())
    }

    /// One element or a packed run of `uint64`, each handed to `each`.
    pub(super) fn varints(&self, data: &[u8], mut each: impl FnMut(u64)) -> Result<(), WireError> {
        match self.value {
            Wire::Varint(number) => each(number),
            Wire::Bytes(slice) => {
                let mut reader = Reader::within(data, slice);
                while reader.at < reader.end {
                    each(reader.varint()?);
                }
            }
            _ => return Err(self.mismatch()),
        }
        Ok(())
    }
}

/// Reads the fields of one message.
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads a whole message.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, end: data.len() }
    }

    /// Reads a message inside a message.
    #[inline]
    pub(crate) fn within(data: &'a [u8], slice: Slice) -> Self {
        let end = (slice.end as usize).min(data.len());
        Self { data, at: (slice.start as usize).min(end), end }
    }

    #[cold]
    fn error(&self, kind: WireErrorKind) -> WireError {
        WireError { at: self.at, kind }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        let bytes = &self.data[self.at..self.end];
        match bytes.first() {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0u64;
        for (index, byte) in self.data[self.at..self.end].iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.at += index + 1;
                return Ok(number);
            }
        }
        let kind = if self.end - self.at < 10 { WireErrorKind::CutOff } else { WireErrorKind::LongNumber };
        Err(self.error(kind))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        match self.data[self.at..self.end].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.error(WireErrorKind::CutOff)),
        }
    }

    /// The next field, or `None` at the end.
    ///
    /// # Errors
    /// When the bytes are no field.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Field>, WireError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let at = self.at as u32;
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(0) => return Err(WireError { at: at as usize, kind: WireErrorKind::FieldZero }),
            Ok(number) if number < 1 << 29 => number,
            _ => return Err(WireError { at: at as usize, kind: WireErrorKind::LongNumber }),
        };
        let value = match (tag & 7) as u8 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let start = self.at;
                if length > (self.end - start) as u64 {
                    return Err(self.error(WireErrorKind::CutOff));
                }
                self.at = start + length as usize;
                Wire::Bytes(Slice { start: start as u32, end: self.at as u32 })
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(WireError { at: at as usize, kind: WireErrorKind::WireType(other) }),
        };
        Ok(Some(Field { number, at, value }))
    }

    /// The next field, and all its bytes: tag, length and value, as they stand in the message.
    ///
    /// # Errors
    /// When the bytes are no field.
    pub(crate) fn next_whole(&mut self) -> Result<Option<(Field, Slice)>, WireError> {
        let start = self.at as u32;
        Ok(self.next()?.map(|field| (field, Slice { start, end: self.at as u32 })))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u32>, WireError> {
        let mut reader = Reader::new(bytes);
        let mut numbers = Vec::new();
        while let Some(field) = reader.next()? {
            numbers.push(field.number);
        }
        Ok(numbers)
    }

    /// Every wire type is read, and numbers of more than one byte too.
    #[test]
    fn reads_every_wire_type() {
        let bytes = [0x08, 0xac, 0x02, 0x12, 0x01, b'x', 0x1d, 1, 0, 0, 0, 0x81, 0x01, 1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&bytes).unwrap(), [1, 2, 3, 16]);
        assert_eq!(Reader::new(&bytes).next().unwrap().unwrap().varint(), Ok(300));
    }

    /// JSON, groups, truncation and endless numbers are errors that say where.
    #[test]
    fn says_what_is_wrong_and_where() {
        let kind = |bytes: &[u8]| read(bytes).unwrap_err().kind;
        assert_eq!(read(b"{\"a\":1}").unwrap_err(), WireError { at: 0, kind: WireErrorKind::WireType(3) });
        assert_eq!(kind(&[0x0a, 0x05, 1]), WireErrorKind::CutOff);
        assert_eq!(kind(&[0x09, 1, 2]), WireErrorKind::CutOff);
        assert_eq!(kind(&[0x08, 0x80]), WireErrorKind::CutOff);
        assert_eq!(kind(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), WireErrorKind::LongNumber);
        assert_eq!(kind(&[0x00, 0x01]), WireErrorKind::FieldZero);
        assert_eq!(kind(&[0x0f, 0x01]), WireErrorKind::WireType(7));
    }

    /// The quick look at an attribute finds what reading field by field finds, and leaves everything else to it:
    /// other kinds of values, other orders, long and cut-off ones.
    #[test]
    fn a_short_pair_is_read_in_one_look() {
        let whole = |bytes: &[u8]| Slice { start: 0, end: bytes.len() as u32 };
        let pair = b"\x0a\x03abc\x12\x04\x0a\x02xy";
        let read = ShortPair::read(pair, whole(pair)).unwrap();
        assert_eq!(
            (read.key.of(pair), read.value.of(pair), read.text.of(pair)),
            (&b"abc"[..], &b"\x0a\x02xy"[..], &b"xy"[..])
        );
        for other in [
            &b"\x0a\x03abc\x12\x02\x18\x05"[..],
            b"\x12\x04\x0a\x02xy\x0a\x03abc",
            b"\x0a\x03abc\x12\x06\x0a\x02xy\x10\x01",
            b"\x0a\x03abc\x12\x04\x0a\x02x",
            b"\x0a\x09abc",
            b"\x0a\x81\x01abc\x12\x02\x0a\x00",
            b"",
        ] {
            assert_eq!(ShortPair::read(other, whole(other)), None, "{other:?}");
        }
    }

    /// Repeated numbers come packed or one by one, and zigzag numbers are signed.
    #[test]
    fn packed_and_single_elements_are_the_same() {
        for bytes in [&[0x12, 0x02, 1, 2][..], &[0x10, 1, 0x10, 2]] {
            let mut numbers = Vec::new();
            let mut reader = Reader::new(bytes);
            while let Some(field) = reader.next().unwrap() {
                field.varints(bytes, |number| numbers.push(number)).unwrap();
            }
            assert_eq!(numbers, [1, 2]);
        }
        assert_eq!(Reader::new(&[0x08, 0x03]).next().unwrap().unwrap().sint32(), Ok(-2));
    }
}
