//! Values in binary: what is sent as a parameter comes back as PostgreSQL sends it.

use kalamdb_tests::Server;
use kalamdb_tests::peer::{Peer, cstring, execute, message, parse, sync};

/// Bind with parameters and results in binary.
fn bind_binary(values: &[&[u8]]) -> Vec<u8> {
    let mut body = [cstring(""), cstring(""), vec![0, 1, 0, 1]].concat();
    body.extend(u16::try_from(values.len()).expect("few values").to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).expect("a short value").to_be_bytes());
        body.extend_from_slice(value);
    }
    body.extend([0, 1, 0, 1]);
    message('B', &body)
}

/// The cells of the one row, or the SQLSTATE.
fn answer(peer: &mut Peer, sql: &str, ty: u32, value: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    peer.send(&[parse("", sql, &[ty]), bind_binary(&[value]), execute("", 0), sync()].concat());
    let messages = peer.until('Z');
    if let Some(error) = messages.iter().find(|message| message.tag == 'E') {
        return Err(error.shown());
    }
    let row = messages.iter().find(|message| message.tag == 'D').expect("a row");
    let mut rest = &row.body[2..];
    let mut cells = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).expect("no NULL");
        cells.push(behind[..length].to_vec());
        rest = &behind[length..];
    }
    Ok(cells)
}

fn words(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

const INT4: i32 = 23;
const INT4_ARRAY: u32 = 1007;

#[test]
fn arrays_of_several_dimensions() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    // {{1,NULL},{3,4}}, the second dimension counted from 0.
    let grid = words(&[2, 1, INT4, 2, 1, 2, 0, 4, 1, -1, 4, 3, 4, 4]);
    let cells = answer(&mut peer, "SELECT $1, $1[2][0], $1[2:2], array_dims($1)", INT4_ARRAY, &grid);
    let slice = words(&[2, 0, INT4, 1, 1, 2, 1, 4, 3, 4, 4]);
    assert_eq!(cells, Ok(vec![grid, words(&[3]), slice, b"[1:2][0:1]".to_vec()]));

    // One dimension that counts from 5; none; a dimension without items is none.
    for (sent, back) in [
        (words(&[1, 0, INT4, 1, 5, 4, 7]), words(&[1, 0, INT4, 1, 5, 4, 7])),
        (words(&[0, 0, INT4]), words(&[0, 0, INT4])),
        (words(&[2, 0, INT4, 1, 1, 0, 1]), words(&[0, 0, INT4])),
    ] {
        assert_eq!(answer(&mut peer, "SELECT $1", INT4_ARRAY, &sent), Ok(vec![back]));
    }
    for (sent, error) in [
        (words(&[7, 0, INT4]), "E 54000"),
        (words(&[-1, 0, INT4]), "E 22P03"),
        (words(&[1, 2, INT4, 0, 1]), "E 22P03"),
        (words(&[1, 0, INT4, i32::MAX, 1]), "E 54000"),
        (words(&[2, 0, INT4, 2, 1, 2, 1, 4, 1]), "E 08P01"),
    ] {
        assert_eq!(answer(&mut peer, "SELECT $1", INT4_ARRAY, &sent), Err(error.to_owned()));
    }
}

#[test]
fn infinite_numerics_and_bytes_as_char() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    // "char" is any byte.
    assert_eq!(answer(&mut peer, "SELECT $1, $1::integer", 18, &[0xC3]), Ok(vec![vec![0xC3], words(&[-61])]));
    let infinity = [0, 0, 0, 0, 0xD0, 0, 0, 0x20];
    assert_eq!(answer(&mut peer, "SELECT $1", 1700, &infinity), Ok(vec![infinity.to_vec()]));
}

/// vector has no OID that PostgreSQL gives: ours stays what it is, since clients and stored definitions hold it.
#[test]
fn vectors() {
    const VECTOR: u32 = 9600;
    const VECTOR_ARRAY: u32 = 9601;
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let vector = |elements: &[f32]| {
        let count = u16::try_from(elements.len()).expect("few elements");
        let floats = elements.iter().flat_map(|element| element.to_be_bytes());
        [&count.to_be_bytes()[..], &[0, 0]].concat().into_iter().chain(floats).collect::<Vec<u8>>()
    };
    let sent = vector(&[1.5, -2.0, 0.25]);
    let cells = answer(&mut peer, "SELECT $1, $1 + $1, $1 <-> '[1.5,-2,2.25]', $1::real[]::text", VECTOR, &sent);
    let two = 2_f64.to_be_bytes().to_vec();
    assert_eq!(cells, Ok(vec![sent.clone(), vector(&[3.0, -4.0, 0.5]), two, b"{1.5,-2,0.25}".to_vec()]));

    let mut list = words(&[1, 0, VECTOR as i32, 1, 1, sent.len() as i32]);
    list.extend(&sent);
    assert_eq!(answer(&mut peer, "SELECT $1, $1[1]", VECTOR_ARRAY, &list), Ok(vec![list.clone(), sent.clone()]));

    for (bytes, state) in [
        (vec![0, 2, 0, 0, 0, 0, 0, 0], "08P01"),
        ([&sent[..], &[0]].concat(), "22P03"),
        (vec![0, 0, 0, 0], "22000"),
        ([&[0, 1, 0, 1][..], &1_f32.to_be_bytes()].concat(), "22000"),
        (vector(&[f32::NAN]), "22000"),
        (vector(&[f32::INFINITY]), "22000"),
    ] {
        let error = answer(&mut peer, "SELECT $1", VECTOR, &bytes).expect_err("no vector");
        assert!(error.contains(state), "{error} for {bytes:?}");
    }
}
