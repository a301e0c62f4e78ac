//! The dimensions of arrays, and how arrays stand in Arrow.
//!
//! An array's items stand one after the other, the last subscript running fastest; its [`Shape`] says the dimensions.
//! The usual array has one dimension that counts from its type's first subscript (1; the vector types': 0): it has no
//! shape, and neither has an empty array, which has no dimensions. In Arrow a column of arrays is a struct of two:
//! the items as a list, and the shape as bytes, NULL where there is none. So the usual case is a list, and a bitmap.

use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Fields};
use std::sync::{Arc, LazyLock};

/// PostgreSQL's MAXDIM.
pub const DIMENSIONS_MAX: usize = 6;
/// The most items of an array: PostgreSQL's MaxArraySize.
pub const ITEMS_MAX: usize = 134_217_727;

/// One dimension: where its subscripts begin, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dimension {
    /// The first subscript.
    pub lower: i32,
    /// How many.
    pub length: i32,
}

impl Dimension {
    /// A dimension.
    pub const fn new(lower: i32, length: i32) -> Self {
        Self { lower, length }
    }

    /// The last subscript. What makes shapes checks that it is an integer.
    pub const fn upper(self) -> i32 {
        self.lower.saturating_add(self.length - 1)
    }

    /// How many there are.
    pub fn count(self) -> usize {
        usize::try_from(self.length).unwrap_or(0)
    }
}

/// The dimensions of an array that is not the usual one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape(Box<[Dimension]>);

impl Shape {
    /// The shape of an array with these dimensions; `first` is its type's first subscript. `None` for the usual array
    /// and for an empty one.
    pub fn of(dimensions: &[Dimension], first: i32) -> Option<Self> {
        match dimensions {
            [] => None,
            [only] if only.lower == first => None,
            several if several.iter().any(|dimension| dimension.length <= 0) => None,
            several => Some(Self(several.into())),
        }
    }

    /// The dimensions, the outermost first.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.0
    }

    /// Appends its bytes: their number, then for each dimension lower bound and length.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.0.len() as u8); // at most six
        for dimension in &self.0 {
            out.extend_from_slice(&dimension.lower.to_le_bytes());
            out.extend_from_slice(&dimension.length.to_le_bytes());
        }
    }

    /// Reads what [`Shape::write`] wrote, and what stands behind it.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (count, mut rest) = bytes.split_first()?;
        let mut dimensions = Vec::with_capacity(usize::from(*count).min(DIMENSIONS_MAX));
        for _ in 0..*count {
            let (lower, behind) = rest.split_first_chunk()?;
            let (length, behind) = behind.split_first_chunk()?;
            dimensions.push(Dimension::new(i32::from_le_bytes(*lower), i32::from_le_bytes(*length)));
            rest = behind;
        }
        Some((Self(dimensions.into()), rest))
    }
}

/// The dimensions of an array of so many items.
pub fn dimensions_of(shape: Option<&Shape>, items: usize, first: i32) -> Vec<Dimension> {
    match shape {
        Some(shape) => shape.0.to_vec(),
        None if items == 0 => Vec::new(),
        None => vec![Dimension::new(first, items as i32)],
    }
}

/// Where brackets stand around the items of an array when it is written: `{{1,2},{3,4}}`.
#[derive(Debug)]
pub struct Brackets {
    /// How many items stand between two brackets of a level, the outermost first.
    sizes: Vec<usize>,
}

impl Brackets {
    /// Those of an array that has items.
    pub fn new(shape: Option<&Shape>, items: usize) -> Self {
        let Some(shape) = shape else { return Self { sizes: vec![items] } };
        let mut size = 1;
        let mut sizes: Vec<usize> = Vec::with_capacity(shape.0.len());
        for dimension in shape.0.iter().rev() {
            size *= dimension.count();
            sizes.push(size);
        }
        sizes.reverse();
        Self { sizes }
    }

    /// How many open before an item.
    pub fn opening(&self, item: usize) -> usize {
        self.sizes.iter().filter(|size| item.is_multiple_of(**size)).count()
    }

    /// How many close behind it.
    pub fn closing(&self, item: usize) -> usize {
        self.opening(item + 1)
    }
}

/// The name of the items' field inside the struct.
const ITEMS: &str = "items";
/// And of the shape's.
const SHAPE: &str = "shape";

/// The field of a list's items.
pub fn item_field(item: DataType) -> FieldRef {
    Arc::new(Field::new("item", item, true))
}

fn fields(list: DataType) -> Fields {
    static SHAPES: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new(SHAPE, DataType::Binary, true)));
    Fields::from(vec![Arc::new(Field::new(ITEMS, list, true)), SHAPES.clone()])
}

/// The Arrow type of arrays of items of a type.
pub fn arrow_type(item: DataType) -> DataType {
    DataType::Struct(fields(DataType::List(item_field(item))))
}

/// A column of arrays: the items, and the shapes where there are some.
///
/// # Panics
/// When the two are not equally long.
pub fn assemble(lists: ListArray, shapes: Option<BinaryArray>) -> ArrayRef {
    let nulls = lists.nulls().cloned();
    let shapes = shapes.unwrap_or_else(|| BinaryArray::new_null(lists.len()));
    let fields = fields(lists.data_type().clone());
    Arc::new(StructArray::new(fields, vec![Arc::new(lists), Arc::new(shapes)], nulls))
}

/// The bytes of shapes, as a column; `None` when there is not one.
pub fn shape_column<'s>(shapes: impl ExactSizeIterator<Item = Option<&'s Shape>> + Clone) -> Option<BinaryArray> {
    shapes.clone().any(|shape| shape.is_some()).then(|| {
        let mut builder = BinaryBuilder::with_capacity(shapes.len(), shapes.len() * 17);
        let mut bytes = Vec::new();
        for shape in shapes {
            bytes.clear();
            match shape {
                Some(shape) => {
                    shape.write(&mut bytes);
                    builder.append_value(&bytes);
                }
                None => builder.append_null(),
            }
        }
        builder.finish()
    })
}

/// A look at a column of arrays.
#[derive(Clone, Copy, Debug)]
pub struct Arrays<'a> {
    whole: &'a StructArray,
    lists: &'a ListArray,
    shapes: &'a BinaryArray,
}

impl<'a> Arrays<'a> {
    /// Of a column made by [`assemble`]; `None` for any other.
    pub fn new(array: &'a dyn Array) -> Option<Self> {
        let whole = array.as_any().downcast_ref::<StructArray>()?;
        let [lists, shapes] = whole.columns() else { return None };
        let lists = lists.as_any().downcast_ref()?;
        let shapes = shapes.as_any().downcast_ref()?;
        Some(Self { whole, lists, shapes })
    }

    /// How many arrays.
    pub fn len(self) -> usize {
        self.whole.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.whole.is_empty()
    }

    /// Whether an array is NULL.
    pub fn is_null(self, row: usize) -> bool {
        self.whole.is_null(row)
    }

    /// Which are NULL.
    pub fn nulls(self) -> Option<&'a NullBuffer> {
        self.whole.nulls()
    }

    /// The items of all. A NULL array may have items, which count for nothing.
    pub fn lists(self) -> &'a ListArray {
        self.lists
    }

    /// The first and the place behind the last of an array's items among all.
    pub fn range(self, row: usize) -> std::ops::Range<usize> {
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    /// The shapes' bytes.
    pub fn shapes(self) -> &'a BinaryArray {
        self.shapes
    }

    /// Whether any of them has a shape.
    pub fn has_shapes(self) -> bool {
        self.shapes.null_count() < self.shapes.len()
    }

    /// An array's shape. Only our own code writes the bytes.
    pub fn shape(self, row: usize) -> Option<Shape> {
        if self.shapes.is_null(row) {
            return None;
        }
        Shape::read(self.shapes.value(row)).map(|(shape, _)| shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_and_empty_arrays_have_no_shape() {
        assert_eq!(Shape::of(&[], 1), None);
        assert_eq!(Shape::of(&[Dimension::new(1, 3)], 1), None);
        assert_eq!(Shape::of(&[Dimension::new(1, 2), Dimension::new(1, 0)], 1), None);
        assert!(Shape::of(&[Dimension::new(0, 3)], 1).is_some());
    }

    #[test]
    fn a_shape_is_read_as_it_was_written() {
        let shape = Shape::of(&[Dimension::new(-1, 2), Dimension::new(5, 3)], 1).unwrap();
        let mut bytes = Vec::new();
        shape.write(&mut bytes);
        bytes.push(7);
        assert_eq!(Shape::read(&bytes), Some((shape.clone(), &[7][..])));
        assert_eq!(Shape::read(&bytes[..10]), None);
        let brackets = Brackets::new(Some(&shape), 6);
        let opening: Vec<usize> = (0..6).map(|item| brackets.opening(item)).collect();
        assert_eq!(opening, [2, 0, 0, 1, 0, 0]);
        assert_eq!((brackets.closing(2), brackets.closing(5)), (1, 2));
    }
}
