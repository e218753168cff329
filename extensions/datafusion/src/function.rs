//! A method of a model as a scalar function.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Schema};
use corten_core::{Data, Kind};
use corten_data::{Frame, OutputKind, schema_of, table_of};
use corten_model::{Method, Model, Run, answers};
use datafusion_common::{DataFusionError, Result, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// Most names of columns in a message.
const SHOWN: usize = 20;

/// A method of a model.
#[derive(Debug)]
pub(crate) struct Function {
    name: String,
    model: Model,
    method: Method,
    columns: Vec<(String, OutputKind)>,
    /// What goes in, in the order of the fit: the names of the model, and types that arguments are cast to where they
    /// aren't read as they are.
    inputs: Vec<Field>,
    returned: DataType,
    signature: Signature,
}

impl Function {
    /// A method of the model in these bytes.
    ///
    /// # Errors
    /// [`corten_core::Error`] for bytes that are no model, and a method that it doesn't have.
    pub(crate) fn new(model: &[u8], method: &str, name: &str) -> corten_core::Result<Self> {
        let model = Model::from_bytes(model)?;
        let method = Method::parse(method)?;
        let columns = answers::columns(model.steps(method)?.0);
        let answers = schema_of(&columns);
        let returned = match &answers.fields()[..] {
            [one] => one.data_type().clone(),
            _ => DataType::Struct(answers.fields().clone()),
        };
        let inputs = model.schema().inputs.iter().map(|input| {
            let of_fit = match (input.kind, input.dtype.as_str()) {
                (Kind::Text, _) => DataType::Utf8,
                (Kind::Number, "bool") => DataType::Boolean,
                (Kind::Number, _) => DataType::Float64,
            };
            Field::new(&input.name, of_fit, true)
        });
        Ok(Self {
            name: name.to_owned(),
            inputs: inputs.collect(),
            signature: Signature::user_defined(Volatility::Immutable),
            model,
            method,
            columns,
            returned,
        })
    }

    /// The type that an argument is cast to.
    ///
    /// # Errors
    /// Naming the column where none fits.
    fn type_of(&self, column: &Field, given: &DataType) -> Result<DataType> {
        let of_fit = column.data_type();
        if is_read(of_fit, given) {
            return Ok(given.clone());
        }
        if can_cast(of_fit, given) {
            return Ok(of_fit.clone());
        }
        let wanted = if *of_fit == DataType::Boolean { "booleans" } else { "numbers" };
        let problem = format!("holds {given} where the model reads {wanted}");
        Err(DataFusionError::Plan(corten_core::Error::column(column.name(), problem).to_string()))
    }

    /// Answers rows; the arguments have the types of [`ScalarUDFImpl::coerce_types`].
    ///
    /// # Errors
    /// Those of the model, which name the column.
    pub(crate) fn answer(&self, arguments: Vec<ArrayRef>) -> Result<ArrayRef> {
        // A panic must not reach a caller from another library.
        match catch_unwind(AssertUnwindSafe(|| self.score(arguments))) {
            Ok(answer) => answer.map_err(|e| DataFusionError::Execution(e.to_string())),
            Err(_) => exec_err!("{}: internal error, please report it", self.name),
        }
    }

    fn score(&self, arguments: Vec<ArrayRef>) -> corten_core::Result<ArrayRef> {
        let unreadable = |e: arrow_schema::ArrowError| corten_core::Error::value(e.to_string());
        let fields = self.inputs.iter().zip(&arguments).map(|(f, a)| Field::new(f.name(), a.data_type().clone(), true));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), arguments);
        let batch = batch.map_err(unreadable)?;
        // DataFusion calls on all of its threads.
        let run = Run { threads: 1, ..Run::default() };
        let found = self.model.run_all(&[self.method], &Data::Table(table_of(&batch)?), &run)?;
        let output = self.model.steps(self.method)?.0;
        let values: Vec<_> = found.into_iter().flat_map(|batch| answers::values(output, batch)).collect();
        let answers = Frame::from_columns(&self.columns, &values)?.batch().clone();
        Ok(match answers.columns() {
            [one] => Arc::clone(one),
            _ => Arc::new(StructArray::from(answers)),
        })
    }
}

/// Whether the model's own reader makes of a type what a cast to that of the fit would.
fn is_read(of_fit: &DataType, given: &DataType) -> bool {
    match of_fit {
        DataType::Utf8 => matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        DataType::Float64 => given.is_integer() || matches!(given, DataType::Float32 | DataType::Float64),
        _ => given == of_fit,
    }
}

/// Whether DataFusion casts a type for a function that takes that of the fit: to text from all others, and to a float from
/// numbers.
fn can_cast(of_fit: &DataType, given: &DataType) -> bool {
    match (of_fit, given) {
        (_, DataType::Dictionary(_, values)) => can_cast(of_fit, values),
        (DataType::Utf8, _) | (_, DataType::Null) => true,
        (DataType::Float64, _) => given.is_numeric(),
        _ => given == of_fit,
    }
}

// A function is itself and no other.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::hash(self, state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returned.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() != self.inputs.len() {
            let names: Vec<&str> = self.inputs.iter().take(SHOWN).map(|i| i.name().as_str()).collect();
            return plan_err!(
                "{} takes the {} columns that the model reads ({}). Got {} arguments instead",
                self.name,
                self.inputs.len(),
                names.join(", "),
                given.len()
            );
        }
        self.inputs.iter().zip(given).map(|(column, given)| self.type_of(column, given)).collect()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arguments.args.iter().map(|a| a.to_array(arguments.number_rows)).collect::<Result<_>>()?;
        self.answer(arrays).map(ColumnarValue::Array)
    }
}
