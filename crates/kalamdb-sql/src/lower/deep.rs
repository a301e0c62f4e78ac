//! Deep expressions in pieces.
//!
//! The engine looks at a whole expression again at each of its levels (names, hashes, equivalences), so the time for a
//! chain of a thousand operators grows as its square and worse. A deep expression is cut: what has a certain height
//! becomes one function over the columns it reads, and the engine does not look inside.

use super::{Body, column_name, compile, external};
use crate::bind::bound::{Col, Scalar};
use crate::bind::walk;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use kalamdb_commons::Result;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// What hands write is lower.
const HEIGHT_MAX: usize = 24;

/// The expression of a scalar, cut if it is deep. Its functions must have their surroundings.
pub(super) fn cut(expr: Expr, scalar: &Scalar) -> Result<Expr> {
    if height(scalar) <= HEIGHT_MAX {
        return Ok(expr);
    }
    let columns = walk::columns_used(scalar).into_iter().map(|col| (column_name(col.id), col)).collect();
    let cut = Cutter { columns }.cut(expr).map_err(crate::function::sql_error)?;
    Ok(cut.expr)
}

fn height(scalar: &Scalar) -> usize {
    stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || {
        let mut most = 0;
        walk::operands(scalar, &mut |operand| most = most.max(height(operand)));
        most + 1
    })
}

/// An expression that was cut.
struct Cut {
    expr: Expr,
    height: usize,
    /// Whether it gives the same value wherever it is computed from its columns.
    plain: bool,
}

struct Cutter {
    columns: HashMap<String, Col>,
}

impl Cutter {
    fn cut(&self, expr: Expr) -> datafusion_common::Result<Cut> {
        stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || self.cut_one(expr))
    }

    fn cut_one(&self, expr: Expr) -> datafusion_common::Result<Cut> {
        let (mut height, mut plain) = (0, true);
        let expr = expr.map_children(|child| {
            let cut = self.cut(child)?;
            height = height.max(cut.height);
            plain &= cut.plain;
            Ok(Transformed::yes(cut.expr))
        })?;
        let expr = expr.data;
        plain &= self.is_plain(&expr);
        // Comparisons and connectives stay the engine's: it looks for keys and joins in them.
        if plain && height + 1 >= HEIGHT_MAX && matches!(expr, Expr::ScalarFunction(_) | Expr::Case(_)) {
            return Ok(Cut { expr: self.piece(&expr)?, height: 1, plain });
        }
        Ok(Cut { expr, height: height + 1, plain })
    }

    fn is_plain(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Column(column) => column.relation.is_none() && self.columns.contains_key(&column.name),
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Volatile,
            Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::InList(_)
            | Expr::Case(_)
            | Expr::Cast(_) => true,
            _ => false,
        }
    }

    /// One function over the columns that the expression reads.
    fn piece(&self, expr: &Expr) -> datafusion_common::Result<Expr> {
        let mut names: Vec<String> = expr.column_refs().into_iter().map(|column| column.name.clone()).collect();
        names.sort_unstable();
        let columns: Vec<Col> = names.iter().filter_map(|name| self.columns.get(name).copied()).collect();
        let body = compile(expr, &columns).map_err(external)?;
        let fields = columns.iter().map(|col| Field::new(column_name(col.id), col.ty.ty.arrow(), true));
        let returns = body.data_type(&Schema::new(fields.collect::<Vec<_>>()))?;
        // Two pieces over the same columns are told apart by their names.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("kalam_expression_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let args = names.iter().map(|name| Expr::Column(Column::new_unqualified(name.clone()))).collect();
        Ok(ScalarUDF::new_from_impl(Piece { name, body: Body { expr: body, names }, returns }).call(args))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Piece {
    name: String,
    body: Body,
    returns: DataType,
}

impl ScalarUDFImpl for Piece {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Stable));
        &SIGNATURE
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> datafusion_common::Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> datafusion_common::Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion_common::Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<datafusion_common::Result<Vec<ArrayRef>>>()?;
        let fields =
            self.body.names.iter().zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        // A piece stands in a piece, as often as the expression is deep.
        let result = stacker::maybe_grow(256 * 1024, 2 * 1024 * 1024, || self.body.expr.evaluate(&batch))?;
        let result = result.into_array(rows)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
