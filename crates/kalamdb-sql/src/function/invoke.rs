//! Functions in the engine's plans: the wrapper that handles NULL once, and the errors' way through the engine.

use super::{Call, Function, Kind, Surroundings, Volatility};
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use datafusion_common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use kalamdb_commons::{PgType, Result, SqlError, SqlState};
use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The statement's surroundings inside the engine's configuration: set once for each statement, read by functions.
#[derive(Debug, Clone)]
pub struct AroundExtension(pub Arc<dyn Surroundings>);

impl ConfigExtension for AroundExtension {
    const PREFIX: &'static str = "kalam_around";
}

impl ExtensionOptions for AroundExtension {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> datafusion_common::Result<()> {
        Err(DataFusionError::Configuration(format!("{key} cannot be set")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// The engine's face of a [`Kind::Scalar`] function. It finds its surroundings in the configuration
/// ([`AroundExtension`]).
pub fn to_udf(function: &'static Function, arg_types: &[PgType], returns: PgType) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Face { function, arg_types: arg_types.into(), returns, around: None }))
}

/// As [`to_udf`], for expressions that are evaluated without a configuration: the surroundings are handed over now.
pub fn to_udf_around(
    function: &'static Function,
    arg_types: &[PgType],
    returns: PgType,
    around: Arc<dyn Surroundings>,
) -> Arc<ScalarUDF> {
    let around = Some(around);
    Arc::new(ScalarUDF::new_from_impl(Face { function, arg_types: arg_types.into(), returns, around }))
}

/// Calls a scalar function on arrays that are all `rows` long, or have one item where the function takes constants so.
///
/// # Errors
/// The function's; XX000 when it is not a scalar function.
pub(crate) fn call(
    function: &Function,
    args: &[ArrayRef],
    rows: usize,
    arg_types: &[PgType],
    returns: PgType,
    around: &dyn Surroundings,
) -> Result<ArrayRef> {
    let Kind::Scalar(implementation) = function.kind else {
        return Err(SqlError::internal(format!("{function:?} is not a scalar function")));
    };
    let call = |rows| Call { rows, arg_types, returns, around };
    // A constant of one item says nothing of rows, unless it is NULL.
    let is_once = |arg: &ArrayRef| function.constants_once && arg.len() == 1 && rows != 1;
    if function.strict && args.iter().any(|arg| is_once(arg) && arg.logical_null_count() > 0) {
        return Ok(arrow_array::new_null_array(&returns.ty.arrow(), rows));
    }
    let nulls = args
        .iter()
        .filter(|arg| !is_once(arg))
        .fold(None, |nulls, arg| NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref()));
    match nulls.filter(|nulls| function.strict && nulls.null_count() > 0) {
        None => implementation(args, &call(rows)),
        // No row is left: the function is not called at all.
        Some(nulls) if nulls.null_count() == rows => Ok(arrow_array::new_null_array(&returns.ty.arrow(), rows)),
        Some(nulls) => {
            // Strict: it is called for the rows without NULL only, so that what lies under a NULL cannot fail.
            let keep = BooleanArray::new(nulls.inner().clone(), None);
            let kept = args
                .iter()
                .map(|arg| if is_once(arg) { Ok(arg.clone()) } else { arrow_select::filter::filter(arg, &keep) })
                .collect::<Result<Vec<_>, _>>()
                .map_err(SqlError::internal)?;
            let result = implementation(&kept, &call(rows - nulls.null_count()))?;
            let mut next = 0;
            let places: UInt32Array = nulls
                .iter()
                .map(|valid| {
                    valid.then(|| {
                        next += 1;
                        next - 1
                    })
                })
                .collect();
            arrow_select::take::take(&result, &places, None).map_err(SqlError::internal)
        }
    }
}

/// The client's error for one of the engine's: what a function of ours raised comes back as it was.
pub fn sql_error(error: DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<SqlError>() {
            Ok(error) => *error,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => sql_error(*error),
                Err(inner) => SqlError::internal(inner),
            },
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => sql_error(*inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(error) => sql_error(error),
            None => SqlError::internal("an error without a cause"),
        },
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(error) => sql_error(error),
            Err(shared) => shared_error(&shared),
        },
        DataFusionError::ArrowError(error, _) => match *error {
            arrow_schema::ArrowError::ExternalError(inner) => sql_error(DataFusionError::External(inner)),
            arrow_schema::ArrowError::DivideByZero => SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
            arrow_schema::ArrowError::OffsetOverflowError(_) => {
                SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a batch of rows is too large")
            }
            error => SqlError::internal(error),
        },
        DataFusionError::ResourcesExhausted(detail) => {
            SqlError::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(detail)
        }
        DataFusionError::NotImplemented(what) => SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, what),
        error => SqlError::internal(error),
    }
}

/// The error behind a reference that others hold too.
fn shared_error(error: &DataFusionError) -> SqlError {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(error) => error.clone(),
            None => SqlError::internal(inner),
        },
        DataFusionError::ResourcesExhausted(detail) => {
            SqlError::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(detail)
        }
        DataFusionError::NotImplemented(what) => SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, what),
        error => SqlError::internal(error),
    }
}

/// An error on its way through the engine.
pub(super) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[derive(Debug)]
struct Face {
    function: &'static Function,
    arg_types: Box<[PgType]>,
    returns: PgType,
    around: Option<Arc<dyn Surroundings>>,
}

impl PartialEq for Face {
    fn eq(&self, other: &Self) -> bool {
        (self.function.oid, &self.arg_types, self.returns) == (other.function.oid, &other.arg_types, other.returns)
    }
}

impl Eq for Face {}

impl Hash for Face {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.function.oid, &self.arg_types, self.returns).hash(state);
    }
}

/// The binder has chosen the function and made every cast: any types are the right ones.
static SIGNATURES: std::sync::LazyLock<[Signature; 3]> = std::sync::LazyLock::new(|| {
    use datafusion_expr::Volatility::{Immutable, Stable, Volatile};
    [Immutable, Stable, Volatile].map(Signature::user_defined)
});

impl ScalarUDFImpl for Face {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        // The engine folds Stable functions of constants when it optimises. Without surroundings in its configuration
        // the attempt fails and the call stays: that is how a plan for a cache is to be optimised.
        match self.function.volatility {
            Volatility::Immutable => &SIGNATURES[0],
            Volatility::Stable => &SIGNATURES[1],
            Volatility::Volatile => &SIGNATURES[2],
        }
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> datafusion_common::Result<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> datafusion_common::Result<DataType> {
        Ok(self.returns.ty.arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion_common::Result<ColumnarValue> {
        let constant = self.function.volatility != Volatility::Volatile
            && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let array = |arg: &ColumnarValue| match arg {
            ColumnarValue::Scalar(value) if self.function.constants_once => value.to_array(),
            arg => arg.to_array(rows),
        };
        let arrays = args.args.iter().map(array).collect::<Result<Vec<_>, _>>()?;
        let extension = args.config_options.extensions.get::<AroundExtension>();
        let around = match (&self.around, extension) {
            (Some(around), _) => around.as_ref(),
            (None, Some(extension)) => extension.0.as_ref(),
            (None, None) => return Err(external(SqlError::internal("a function without surroundings"))),
        };
        let result = call(self.function, &arrays, rows, &self.arg_types, self.returns, around).map_err(external)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
