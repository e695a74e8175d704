//! Errors on their way through DataFusion: ours travel as external errors and come out as they went in, DataFusion's own
//! conditions get PostgreSQL's SQLSTATEs.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use crate::error::{Error, SqlState};

/// An engine error inside DataFusion.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What a client is told of an error that came out of DataFusion.
pub fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => from_external(inner),
        DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Shared(inner) => from_shared(&inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.swap_remove(0)),
        DataFusionError::ResourcesExhausted(message) => {
            Error::new(SqlState::OutOfMemory, "out of memory").detail(message)
        }
        DataFusionError::NotImplemented(message) => Error::unsupported(message),
        DataFusionError::IoError(inner) => Error::new(SqlState::IoError, inner.to_string()),
        other => Error::internal(other.strip_backtrace()),
    }
}

fn from_external(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => match error.downcast::<DataFusionError>() {
            Ok(error) => from_datafusion(*error),
            Err(error) => match error.downcast::<ArrowError>() {
                Ok(error) => from_arrow(*error),
                Err(error) => Error::internal(error.to_string()),
            },
        },
    }
}

/// An error that several partitions share cannot be moved out: the causes are searched instead.
fn from_shared(error: &DataFusionError) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(ours) = current.downcast_ref::<Error>() {
            return ours.clone();
        }
        match current.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::ResourcesExhausted(message)) => {
                return Error::new(SqlState::OutOfMemory, "out of memory").detail(message.clone());
            }
            Some(DataFusionError::NotImplemented(message)) => return Error::unsupported(message),
            Some(DataFusionError::Shared(inner)) => {
                cause = Some(inner.as_ref());
                continue;
            }
            Some(DataFusionError::External(inner)) => {
                cause = Some(inner.as_ref());
                continue;
            }
            _ => {}
        }
        if let Some(arrow) = current.downcast_ref::<ArrowError>() {
            return arrow_condition(arrow).unwrap_or_else(|| Error::internal(arrow.to_string()));
        }
        cause = current.source();
    }
    Error::internal(error.strip_backtrace())
}

fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => from_external(inner),
        other => arrow_condition(&other).unwrap_or_else(|| Error::internal(other.to_string())),
    }
}

fn arrow_condition(error: &ArrowError) -> Option<Error> {
    Some(match error {
        ArrowError::DivideByZero => Error::new(SqlState::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => Error::new(SqlState::NumericValueOutOfRange, "value out of range"),
        ArrowError::ExternalError(inner) => inner.downcast_ref::<Error>()?.clone(),
        ArrowError::MemoryError(message) => Error::new(SqlState::OutOfMemory, "out of memory").detail(message.clone()),
        ArrowError::OffsetOverflowError(_) => {
            Error::new(SqlState::ProgramLimitExceeded, "a batch of text values is larger than 2 GB")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn our_errors_come_out_as_they_went_in() {
        let ours = || to_datafusion(Error::new(SqlState::DivisionByZero, "division by zero").hint("Don't."));
        let wrapped = [
            ours(),
            DataFusionError::Context("while joining".into(), Box::new(ours())),
            DataFusionError::Shared(Arc::new(ours())),
            DataFusionError::Shared(Arc::new(DataFusionError::Context("deep".into(), Box::new(ours())))),
            DataFusionError::External(Box::new(ours())),
            DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(ours()))), None),
            DataFusionError::Collection(vec![ours()]),
        ];
        for error in wrapped {
            let text = format!("{error:?}");
            let error = from_datafusion(error);
            assert_eq!(error.state(), SqlState::DivisionByZero, "{text}");
            assert_eq!(error.report().hint.as_deref(), Some("Don't."), "{text}");
        }
    }

    #[test]
    fn a_full_memory_pool_is_53200() {
        let error = from_datafusion(DataFusionError::ResourcesExhausted("pool".into()));
        assert_eq!(error.state(), SqlState::OutOfMemory);
    }
}
