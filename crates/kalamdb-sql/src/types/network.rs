//! inet, cidr, macaddr, macaddr8: texts and binary forms.
//!
//! The bytes of inet and cidr are ordered as PostgreSQL orders the values: the family, the network's address, the length
//! of its mask, and what of the address is behind the mask. Those of the hardware addresses are the addresses.

use super::bytea::bytes_at;
use super::number::syntax;
use super::{Encoder, insufficient};
use arrow_array::Array;
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, Result, SqlError, SqlState, SqlType};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

/// PostgreSQL's number of IPv4 in binary; IPv6 has the next one.
const FAMILY_4: u8 = 2;
const FAMILY_6: u8 = 3;

/// An address with the length of its network's mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// Whether it is of IPv6.
    pub is_v6: bool,
    /// The length of the mask.
    pub bits: u8,
    /// The address; one of IPv4 in the lower 32 bits.
    pub address: u128,
}

impl Network {
    /// How many bits an address has.
    pub fn width(self) -> u8 {
        if self.is_v6 { 128 } else { 32 }
    }

    /// The bits of a mask of this length.
    pub fn mask_of(self, bits: u8) -> u128 {
        let all = self.all();
        if bits == 0 { 0 } else { all & (all << (self.width() - bits)) }
    }

    /// All bits of an address.
    pub fn all(self) -> u128 {
        if self.is_v6 { u128::MAX } else { u128::from(u32::MAX) }
    }

    /// The bits of its mask.
    pub fn mask(self) -> u128 {
        self.mask_of(self.bits)
    }

    /// Whether no bit is set behind the mask.
    pub fn is_network(self) -> bool {
        self.address & !self.mask() == 0
    }

    /// The network with a mask of some length.
    pub fn network(self, bits: u8) -> Self {
        Self { bits, address: self.address & self.mask_of(bits), ..self }
    }

    /// How many of the first bits are the same, at most `limit`.
    pub fn common_bits(self, other: Self, limit: u8) -> u8 {
        let unlike = (self.address ^ other.address) << (128 - u32::from(self.width()));
        limit.min(unlike.leading_zeros() as u8)
    }

    /// The address alone.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Network { is_v6: false, bits: 32, address: u32::from(address).into() },
            IpAddr::V6(address) => Network { is_v6: true, bits: 128, address: address.into() },
        }
    }

    fn octets(self) -> Vec<u8> {
        self.put(self.address)
    }

    fn put(self, address: u128) -> Vec<u8> {
        let bytes = address.to_be_bytes();
        if self.is_v6 { bytes.to_vec() } else { bytes[12..].to_vec() }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let mask = self.mask();
        let family = if self.is_v6 { FAMILY_6 } else { FAMILY_4 };
        [&[family][..], &self.put(self.address & mask), &[self.bits], &self.put(self.address & !mask)].concat()
    }

    /// What [`Network::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let is_v6 = bytes.first() == Some(&FAMILY_6);
        let length = if is_v6 { 16 } else { 4 };
        let number = |from: usize| {
            let octets = bytes.get(from..from + length).unwrap_or_default();
            octets.iter().fold(0_u128, |number, octet| number << 8 | u128::from(*octet))
        };
        let bits = bytes.get(1 + length).copied().unwrap_or(0);
        Network { is_v6, bits, address: number(1) | number(2 + length) }
    }

    /// The address as text.
    pub fn host(self) -> String {
        let octets = self.octets();
        if !self.is_v6 {
            return octets.iter().map(u8::to_string).collect::<Vec<_>>().join(".");
        }
        let words: Vec<u16> = octets.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word)).collect();
        let (start, length) = longest_zeros(&words);
        let embeds =
            start == 0 && (length == 6 || (length == 7 && words[7] != 1) || (length == 5 && words[5] == 0xffff));
        let mut out = String::new();
        for (place, word) in words.iter().enumerate() {
            if (start..start + length).contains(&place) {
                if place == start {
                    out.push(':');
                }
                continue;
            }
            if place > 0 {
                out.push(':');
            }
            if place == 6 && embeds {
                let last: Vec<String> = octets[12..].iter().map(u8::to_string).collect();
                out.push_str(&last.join("."));
                return out;
            }
            // Writing to a String cannot fail.
            let _ = write!(out, "{word:x}");
        }
        if length > 0 && start + length == 8 {
            out.push(':');
        }
        out
    }

    /// The address, and the mask's length where it says something.
    pub fn text(self) -> String {
        if self.bits == self.width() { self.host() } else { self.full_text() }
    }

    /// The address and the mask's length.
    pub fn full_text(self) -> String {
        format!("{}/{}", self.host(), self.bits)
    }

    /// A network in short: without what is behind the mask.
    pub fn abbreviated(self) -> String {
        let octets = self.network(self.bits).octets();
        let bits = usize::from(self.bits);
        if !self.is_v6 {
            let shown: Vec<String> = octets.iter().take(bits.div_ceil(8).max(1)).map(u8::to_string).collect();
            return format!("{}/{bits}", shown.join("."));
        }
        if bits == 0 {
            return "::/0".to_owned();
        }
        let count = bits.div_ceil(16).max(2);
        let all: Vec<u16> = octets.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word)).collect();
        let words = &all[..count];
        let (start, length) = first_long_zeros(words);
        let embeds = length != count
            && start == 0
            && (length == 6
                || (length == 5 && all[5] == 0xffff)
                || (length == 7 && octets[14] != 0 && octets[15] != 1));
        let mut out = String::new();
        for place in 0..count {
            if length != 0 && (start..start + length).contains(&place) {
                if place == start {
                    out.push(':');
                }
                if place == count - 1 {
                    out.push(':');
                }
            } else if embeds && place > 5 {
                out.push(if place == 6 { ':' } else { '.' });
                let _ = write!(out, "{}", octets[2 * place]);
                if place != 7 || bits > 120 {
                    let _ = write!(out, ".{}", octets[2 * place + 1]);
                }
            } else {
                if !out.is_empty() {
                    out.push(':');
                }
                let _ = write!(out, "{:x}", words[place]);
            }
        }
        format!("{out}/{bits}")
    }
}

/// The inet of an address; one of IPv4 in IPv6's clothes is itself.
pub fn inet_of(address: IpAddr) -> Datum {
    Datum::Bytes(Network::of(address.to_canonical()).to_bytes().into())
}

/// The longest run of zeros, the first of several: where it begins, and how long it is.
fn longest_zeros(words: &[u16]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut place = 0;
    while place < words.len() {
        let length = words[place..].iter().take_while(|word| **word == 0).count();
        if length > best.1 {
            best = (place, length);
        }
        place += length.max(1);
    }
    if best.1 < 2 { (0, 0) } else { best }
}

/// As PostgreSQL's short form looks for zeros: a run that is not longer than the one before counts on with the next.
fn first_long_zeros(words: &[u16]) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), (0, 0));
    for (place, word) in words.iter().enumerate() {
        if *word == 0 {
            if run.1 == 0 {
                run.0 = place;
            }
            run.1 += 1;
        } else if run.1 > best.1 {
            best = run;
            run.1 = 0;
        }
    }
    if run.1 > best.1 { run } else { best }
}

/// Reads inet or cidr.
pub(super) fn read(text: &str, ty: SqlType) -> Result<Datum> {
    let is_cidr = ty == SqlType::Cidr;
    let found = if text.contains(':') {
        version_6(text)
    } else if is_cidr {
        network_4(text.as_bytes())
    } else {
        address_4(text.as_bytes())
    };
    let network = found.ok_or_else(|| syntax(text, ty.facts().name))?;
    if is_cidr && !network.is_network() {
        let error = SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("invalid cidr value: \"{text}\""));
        return Err(error.with_detail("Value has bits set to right of mask."));
    }
    Ok(Datum::Bytes(network.to_bytes().into()))
}

fn version_6(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, length_6(bits)?),
        None => (text, 128),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Some(Network { is_v6: true, bits, address: address.into() })
}

fn length_6(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|bits| plain && *bits <= 128)
}

/// The digits at the beginning, as a number up to `limit`, and what follows.
fn digits(text: &[u8], limit: u32) -> Option<(u32, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut value = 0_u32;
    for digit in &text[..length] {
        value = value * 10 + u32::from(digit - b'0');
        if value > limit {
            return None;
        }
    }
    (length > 0).then_some((value, &text[length..]))
}

fn begins_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

/// `/n` at the end, or nothing: `None` for anything else.
fn length_4(rest: &[u8], has_octets: bool) -> Option<Option<u8>> {
    match rest {
        [] => Some(None),
        [b'/', rest @ ..] if begins_with_digit(rest) && has_octets => {
            let (bits, rest) = digits(rest, 32)?;
            rest.is_empty().then_some(Some(bits as u8))
        }
        _ => None,
    }
}

fn network_of(octets: &[u8], bits: u8) -> Network {
    let mut all = [0; 4];
    all[..octets.len()].copy_from_slice(octets);
    Network { is_v6: false, bits, address: u32::from_be_bytes(all).into() }
}

/// An address: all four octets, or as many as the mask needs.
fn address_4(text: &[u8]) -> Option<Network> {
    let (mut rest, mut octets) = (text, Vec::new());
    while begins_with_digit(rest) {
        let (octet, behind) = digits(rest, 255)?;
        if octets.len() == 4 {
            return None;
        }
        octets.push(octet as u8);
        rest = behind;
        match rest {
            [] | [b'/', ..] => break,
            [b'.', behind @ ..] => rest = behind,
            _ => return None,
        }
    }
    let bits = match length_4(rest, !octets.is_empty())? {
        Some(bits) => bits,
        None if octets.len() == 4 => 32,
        None => return None,
    };
    (!octets.is_empty() && usize::from(bits / 8) <= octets.len()).then(|| network_of(&octets, bits))
}

/// A network: octets that are left out are zeros, and the class says how long a mask is that is not told.
fn network_4(text: &[u8]) -> Option<Network> {
    let mut octets = Vec::new();
    let mut rest = text;
    match text {
        [b'0', b'x' | b'X', hex @ ..] if hex.first().is_some_and(u8::is_ascii_hexdigit) => {
            let length = hex.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let nibble = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
            let pair = |pair: &[u8]| nibble(pair[0]) << 4 | pair.get(1).map_or(0, |low| nibble(*low));
            octets.extend(hex[..length].chunks(2).map(pair));
            rest = &hex[length..];
        }
        _ => loop {
            let (octet, behind) = digits(rest, 255)?;
            octets.push(octet as u8);
            rest = behind;
            match rest {
                [] | [b'/', ..] => break,
                [b'.', behind @ ..] => rest = behind,
                _ => return None,
            }
        },
    }
    if octets.len() > 4 {
        return None;
    }
    let bits = match length_4(rest, !octets.is_empty())? {
        Some(bits) => bits,
        None => {
            let by_class = match octets.first()? {
                240.. => 32,
                224.. => 8,
                192.. => 24,
                128.. => 16,
                _ => 8,
            };
            let bits = by_class.max(8 * octets.len() as u8);
            if bits == 8 && octets[0] == 224 { 4 } else { bits }
        }
    };
    Some(network_of(&octets, bits))
}

/// Reads the binary form of inet or cidr.
pub(super) fn read_binary(bytes: &[u8], ty: SqlType) -> Result<Datum> {
    let name = ty.facts().name;
    let invalid = |what: &str| {
        let message = format!("invalid {what} in external \"{name}\" value");
        SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
    };
    let [family, rest @ ..] = bytes else { return Err(insufficient()) };
    let is_v6 = match *family {
        FAMILY_4 => false,
        FAMILY_6 => true,
        _ => return Err(invalid("address family")),
    };
    let empty = Network { is_v6, bits: 0, address: 0 };
    let [bits, rest @ ..] = rest else { return Err(insufficient()) };
    if *bits > empty.width() {
        return Err(invalid("bits"));
    }
    // The third byte says whether it is a cidr, which the type says.
    let [_, length, octets @ ..] = rest else { return Err(insufficient()) };
    if *length != empty.width() / 8 {
        return Err(invalid("length"));
    }
    match octets.len().cmp(&usize::from(*length)) {
        std::cmp::Ordering::Less => return Err(insufficient()),
        std::cmp::Ordering::Greater => return Err(super::surplus()),
        std::cmp::Ordering::Equal => {}
    }
    let address = octets.iter().fold(0_u128, |number, octet| number << 8 | u128::from(*octet));
    let network = Network { bits: *bits, address, ..empty };
    if ty == SqlType::Cidr && !network.is_network() {
        let error = SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, "invalid external \"cidr\" value");
        return Err(error.with_detail("Value has bits set to right of mask."));
    }
    Ok(Datum::Bytes(network.to_bytes().into()))
}

/// inet and cidr as text: a cidr always with the mask's length.
pub(super) struct NetworkText {
    pub is_cidr: bool,
}

/// inet and cidr in binary.
pub(super) struct NetworkBinary {
    pub is_cidr: bool,
}

impl Encoder for NetworkText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let network = Network::from_bytes(bytes_at(array, row));
        let text = if self.is_cidr { network.full_text() } else { network.text() };
        out.put_slice(text.as_bytes());
    }
}

impl Encoder for NetworkBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let network = Network::from_bytes(bytes_at(array, row));
        let octets = network.octets();
        let family = if network.is_v6 { FAMILY_6 } else { FAMILY_4 };
        out.put_slice(&[family, network.bits, u8::from(self.is_cidr), octets.len() as u8]);
        out.put_slice(&octets);
    }
}

/// Reads macaddr: six pairs of digits with `:` or `-` between all, three or six digits, `.` between four, or nothing.
pub(super) fn read_mac(text: &str) -> Result<Datum> {
    let wrong = || syntax(text, "macaddr");
    let body = text.trim_start_matches(super::is_blank).trim_end_matches(super::is_blank);
    let count = |mark: char| body.matches(mark).count();
    let parts: Vec<&str> = match (count(':'), count('-'), count('.')) {
        (5, 0, 0) | (1, 0, 0) => body.split(':').collect(),
        (0, 5 | 1 | 2, 0) => body.split('-').collect(),
        (0, 0, 2) => body.split('.').collect(),
        (0, 0, 0) => vec![body],
        _ => return Err(wrong()),
    };
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !parts.iter().all(is_hex) {
        return Err(wrong());
    }
    let mut octets = Vec::with_capacity(6);
    if parts.len() == 6 {
        // Each may have any number of digits.
        for part in &parts {
            let octet = u32::from_str_radix(part, 16).map_err(|_| wrong())?;
            octets.push(u8::try_from(octet).map_err(|_| {
                let message = format!("invalid octet value in \"macaddr\" value: \"{text}\"");
                SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
            })?);
        }
    } else {
        if parts.iter().any(|part| part.len() * parts.len() != 12) {
            return Err(wrong());
        }
        for pair in parts.concat().as_bytes().as_chunks::<2>().0 {
            let digits = std::str::from_utf8(pair).unwrap_or_default();
            octets.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        }
    }
    Ok(Datum::Bytes(octets.into()))
}

/// Reads macaddr8: six or eight pairs of digits, one kind of mark between pairs or none. Of six, `ff:fe` goes between
/// the halves.
pub(super) fn read_mac8(text: &str) -> Result<Datum> {
    let wrong = || syntax(text, "macaddr8");
    let mut rest = text.trim_start_matches(super::is_blank).as_bytes();
    let mut octets = Vec::with_capacity(8);
    let mut mark = None;
    while let [high, low, behind @ ..] = rest {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { break };
        if octets.len() == 8 {
            return Err(wrong());
        }
        octets.push(high << 4 | low);
        rest = match behind {
            [found @ (b':' | b'-' | b'.'), more @ ..] => {
                if *mark.get_or_insert(*found) != *found {
                    return Err(wrong());
                }
                more
            }
            behind => behind,
        };
        if octets.len() == 6 || octets.len() == 8 {
            let blank = |byte: &u8| super::is_blank(char::from(*byte));
            if rest.first().is_some_and(blank) {
                if !rest.iter().all(blank) {
                    return Err(wrong());
                }
                rest = &[];
            }
        }
    }
    if !rest.is_empty() {
        return Err(wrong());
    }
    match octets.as_slice() {
        [a, b, c, d, e, f] => Ok(Datum::Bytes([*a, *b, *c, 0xff, 0xfe, *d, *e, *f].into())),
        [_, _, _, _, _, _, _, _] => Ok(Datum::Bytes(octets.into())),
        _ => Err(wrong()),
    }
}

/// Hardware addresses as text.
pub(super) struct MacText;

impl Encoder for MacText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        for (place, octet) in bytes_at(array, row).iter().enumerate() {
            if place > 0 {
                out.put_u8(b':');
            }
            super::bytea::put_hex(&[*octet], out);
        }
    }
}
