//! The outermost layer of protobuf: fields, without knowing their messages.

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    /// Wire type 0.
    Varint,
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32,
}

/// The fields of a message; ends at the first byte that is no field.
pub(super) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Wire<'_>)> {
    std::iter::from_fn(move || {
        let (field, rest) = field(bytes)?;
        bytes = rest;
        Some(field)
    })
}

/// Whether a message is made of fields to its last byte, and of at least one.
pub(super) fn is_message(mut bytes: &[u8]) -> bool {
    let is_empty = bytes.is_empty();
    while !bytes.is_empty() {
        let Some((_, rest)) = field(bytes) else { return false };
        bytes = rest;
    }
    !is_empty
}

fn field(bytes: &[u8]) -> Option<((u64, Wire<'_>), &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let number = tag >> 3;
    if number == 0 {
        return None;
    }
    match tag & 7 {
        0 => varint(rest).map(|(_, rest)| ((number, Wire::Varint), rest)),
        1 => {
            let (value, rest) = rest.split_first_chunk::<8>()?;
            Some(((number, Wire::Fixed64(u64::from_le_bytes(*value))), rest))
        }
        2 => {
            let (length, rest) = varint(rest)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some(((number, Wire::Bytes(value)), rest))
        }
        5 => rest.split_first_chunk::<4>().map(|(_, rest)| ((number, Wire::Fixed32), rest)),
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Calls `visit` with each of the messages at a path of field numbers.
pub(super) fn each<'a>(bytes: &'a [u8], path: &[u64], visit: &mut impl FnMut(&'a [u8])) {
    let Some((first, rest)) = path.split_first() else { return visit(bytes) };
    for (number, value) in fields(bytes) {
        if number == *first
            && let Wire::Bytes(inner) = value
        {
            each(inner, rest, visit);
        }
    }
}
