//! Inputs made from a corpus by mutation, for the crates' own tests: any answer is right, a panic or a hang is not.
//!
//! An input whose answer has not been seen before joins the inputs that are mutated, so that the search goes where it
//! has not been; that takes no instrumented build. Each test makes the same few thousand inputs every time;
//! `KALAMDB_FUZZ_SECONDS` lets it go on for so long instead (`make fuzz`), `KALAMDB_FUZZ_SEED` gives it another beginning
//! (0: any), and `KALAMDB_FUZZ_TRACE=1` prints every input before it is tried, for those that end the process. What fails
//! is printed as a line for the corpus.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one input may take, on a busy machine and in an unoptimised build.
const INPUT_MAX: Duration = Duration::from_secs(20);
/// Inputs that are kept for their answers.
const KEPT_MAX: usize = 4_000;
/// Longer inputs are not made.
const BYTES_MAX: usize = 4_096;
/// Inputs that are made where no time is given: a test is no lottery.
const MADE: u64 = 3_000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Random numbers (xorshift64*), the same ones for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// The lines of a corpus that are inputs: `#` begins a comment, `\xHH`, `\n`, `\t` and `\\` stand for bytes.
pub(crate) fn corpus(text: &str) -> Vec<Vec<u8>> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(unescaped).collect()
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&kind, after)) = rest.split_first() else { break };
        rest = after;
        match kind {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'x' if rest.len() >= 2 => {
                let digits = std::str::from_utf8(&rest[..2]).ok().and_then(|text| u8::from_str_radix(text, 16).ok());
                out.extend(digits);
                rest = &rest[2..];
            }
            other => out.push(other),
        }
    }
    out
}

fn escaped(bytes: &[u8]) -> String {
    let mut line = String::new();
    for &byte in bytes {
        match byte {
            b'\n' => line.push_str("\\n"),
            b'\t' => line.push_str("\\t"),
            b'\\' => line.push_str("\\\\"),
            b' '..=b'~' => line.push(byte.into()),
            other => write!(line, "\\x{other:02x}").unwrap_or_default(),
        }
    }
    line
}

/// Numbers at the edges of what programs count with.
const EDGES: [&[u8]; 8] = [
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\0",
    b"\0\0\0\x01",
    b"2147483648",
    b"-9223372036854775808",
    b"99999999999999999999999999",
];

fn mutated(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(12)).min(input.len());
        match random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => input.insert(at, random.next() as u8),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].repeat(1 + random.below(5));
                input.splice(at..at, piece);
            }
            5 => drop(input.splice(at..end, EDGES[random.below(EDGES.len())].iter().copied())),
            6 => input.truncate(at),
            // A piece of another input in the place of a piece of this one.
            _ => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(40)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    input.truncate(BYTES_MAX);
    input
}

/// Tries the inputs, then what becomes of them. `answer` tells answers apart; of those that differ only in what they
/// quote it should make one.
pub(crate) fn run(target: &str, mut inputs: Vec<Vec<u8>>, answer: impl Fn(&[u8]) -> String) {
    let seed = match setting("KALAMDB_FUZZ_SEED", 1) {
        0 => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64 | 1),
        seed => seed,
    };
    let trace = setting("KALAMDB_FUZZ_TRACE", 0) == 1;
    let started = Instant::now();
    let time = Duration::from_secs(setting("KALAMDB_FUZZ_SECONDS", 0));
    let mut seen = HashSet::new();
    let mut tried = 0_u64;
    let mut attempt = |input: &[u8]| {
        if trace {
            println!("{target}: {}", escaped(input));
        }
        let started = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| answer(input))).unwrap_or_else(|panic| {
            println!("{target} fails on: {}", escaped(input));
            resume_unwind(panic)
        });
        let took = started.elapsed();
        assert!(took < INPUT_MAX, "{target} takes {took:?} for: {}", escaped(input));
        tried += 1;
        seen.insert(found)
    };
    for input in &inputs {
        attempt(input);
    }
    let mut random = Random(seed);
    let mut made = 0;
    while if time.is_zero() { made < MADE } else { started.elapsed() < time } {
        made += 1;
        let input = mutated(&mut random, &inputs);
        if attempt(&input) && inputs.len() < KEPT_MAX {
            inputs.push(input);
        }
    }
    println!("{target}: seed {seed}, {tried} inputs, {} different answers", seen.len());
}

/// An error or its like without what it quotes, from the first quote to the last.
pub(crate) fn unquoted(text: &str) -> String {
    let (before, after) = match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) => (&text[..first], &text[last..]),
        _ => (text, ""),
    };
    before.chars().chain(after.chars()).filter(|letter| !letter.is_ascii_digit()).take(120).collect()
}
