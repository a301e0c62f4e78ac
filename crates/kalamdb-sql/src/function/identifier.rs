//! Identifiers made by the server: uuid, ulid, snowflake.

use super::Function;
use super::rows::f;
use kalamdb_commons::clock;
use rand::RngExt as _;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(3432 volatile "gen_random_uuid" () -> Uuid { Ok(*uuid::Builder::from_random_bytes(random()).as_uuid().as_bytes()) }),
    f!(9200 volatile "uuid_v7" () -> Uuid { Ok(uuid_v7()) }),
    f!(9201 volatile "uuidv7" () -> Uuid { Ok(uuid_v7()) }),
    f!(call; 9202 volatile "snowflake_id" () -> Int8 { Ok(call.around.snowflake_id()) }),
    f!(9203 volatile "ulid" () -> Text { Ok(ulid(clock::now_us(), random())) }),
];

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes);
    bytes
}

fn milliseconds(us: i64) -> u64 {
    us.max(0) as u64 / 1000
}

fn uuid_v7() -> [u8; 16] {
    let builder = uuid::Builder::from_unix_timestamp_millis(milliseconds(clock::now_us()), &random());
    *builder.as_uuid().as_bytes()
}

/// 48 bits of milliseconds and 80 random bits, in Crockford's base 32.
fn ulid(now_us: i64, random: [u8; 10]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let random = random.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let bits = u128::from(milliseconds(now_us) & 0xffff_ffff_ffff) << 80 | random;
    (0..26).rev().map(|place| char::from(DIGITS[(bits >> (5 * place)) as usize & 31])).collect()
}
