//! The bytes of a vector: its floats of single precision one after the other, least significant byte first.
//!
//! Elements are finite. A column of vectors is Arrow's Binary: so a batch of them is one run of floats.

/// The most elements of a vector.
pub const DIMENSIONS_MAX: usize = 16_000;

/// The elements.
pub fn elements(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))
}

/// How many elements there are.
pub fn dimensions(bytes: &[u8]) -> usize {
    bytes.len() / 4
}

/// The bytes of some elements.
pub fn of(elements: impl IntoIterator<Item = f32>) -> Vec<u8> {
    let elements = elements.into_iter();
    let mut bytes = Vec::with_capacity(4 * elements.size_hint().0);
    for element in elements {
        bytes.extend_from_slice(&element.to_le_bytes());
    }
    bytes
}

/// Bytes whose order is that of the vectors: element by element, a shorter one before those it is the beginning of.
pub fn key(bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(bytes.len());
    for element in elements(bytes) {
        // Adding makes -0 the same as 0.
        let bits = (element + 0.0).to_bits();
        // Negative numbers count backwards.
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        key.extend_from_slice(&ordered.to_be_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::{dimensions, elements, key, of};

    #[test]
    fn keys_are_ordered_as_vectors_are() {
        let vectors: &[&[f32]] =
            &[&[-2.0], &[-1.0, 5.0], &[-0.5], &[0.0], &[0.0, -1.0], &[0.0, 0.0], &[1e-40], &[3e38]];
        let keys: Vec<Vec<u8>> = vectors.iter().map(|vector| key(&of(vector.iter().copied()))).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(key(&of([-0.0, 1.0])), key(&of([0.0, 1.0])));
        assert_eq!(elements(&of([1.5, -2.0])).collect::<Vec<_>>(), [1.5, -2.0]);
        assert_eq!(dimensions(&of([1.5, -2.0])), 2);
    }
}
