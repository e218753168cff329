//! What a call carries beside its messages: a key, and how long its answer is waited for.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::status::{Code, Status};
use crate::Options;
use crate::keys::Verb;
use crate::store::Store;
use crate::trace::Told;

/// A call that is being answered.
pub(crate) struct Call<'c> {
    pub(crate) store: &'c Store,
    pub(crate) options: &'c Options,
    pub(crate) headers: &'c HeaderMap,
    pub(crate) begun: Instant,
    pub(crate) deadline: Option<Instant>,
    /// Whether its stages are measured.
    pub(crate) measured: bool,
    /// What a model did for it.
    pub(crate) told: OnceLock<Told>,
}

impl Call<'_> {
    fn check(&self, verb: Verb, model: &str) -> Result<(), bool> {
        let key = self.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.options.keys.check(key, verb, self.store.split(model).0)
    }

    /// Lets in whoever has a key, for whatever: what it is for stands in the message.
    ///
    /// # Errors
    /// UNAUTHENTICATED.
    pub(crate) fn known(&self) -> Result<(), Status> {
        match self.check(Verb::Infer, "") {
            Ok(()) | Err(true) => Ok(()),
            Err(false) => {
                self.store.metrics.refused("key");
                let text = "a key is needed: authorization: Bearer KEY";
                Err(Status::new(Code::Unauthenticated, text))
            }
        }
    }

    /// Whether the caller is told that there is such a model.
    pub(crate) fn sees(&self, model: &str) -> bool {
        let key = self.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.options.keys.check(key, Verb::Infer, model).is_ok()
    }

    /// Lets in whoever has a key for this.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub(crate) fn allow(&self, verb: Verb, model: &str) -> Result<(), Status> {
        let model = if model.is_empty() { self.store.first() } else { model };
        self.check(verb, model).map_err(|_| {
            self.store.metrics.refused("key");
            Status::new(Code::PermissionDenied, format!("this key isn't for this use of '{model}'"))
        })
    }

    /// Checks that the answer is still waited for.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED.
    pub(crate) fn in_time(&self) -> Result<(), Status> {
        if self.deadline.is_none_or(|d| Instant::now() < d) {
            return Ok(());
        }
        self.store.metrics.refused("timeout");
        Err(Status::late())
    }

    /// Waits for something until the deadline.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED, and those of what is waited for.
    pub(crate) async fn within<T>(&self, waited: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let Some(deadline) = self.deadline else { return waited.await };
        match tokio::time::timeout_at(deadline.into(), waited).await {
            Ok(result) => result,
            Err(_) => {
                self.store.metrics.refused("timeout");
                Err(Status::late())
            }
        }
    }
}

/// The time of the field `grpc-timeout`: up to eight digits and a unit.
///
/// # Errors
/// INVALID_ARGUMENT for what is no such time.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(given) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = given.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let n = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(3600 * n),
            "M" => Duration::from_secs(60 * n),
            "S" => Duration::from_secs(n),
            "m" => Duration::from_millis(n),
            "u" => Duration::from_micros(n),
            "n" => Duration::from_nanos(n),
            _ => return None,
        })
    });
    let fault = || Status::invalid(format!("'grpc-timeout' must be up to 8 digits and one of HMSmun; {given:?} came"));
    parsed.map(Some).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_eight_digits_and_a_unit() {
        let of = |text: &'static str| {
            let headers = [("grpc-timeout".parse().unwrap(), HeaderValue::from_static(text))];
            timeout(&HeaderMap::from_iter(headers))
        };
        for (text, wanted) in [
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("250m", Duration::from_millis(250)),
            ("17u", Duration::from_micros(17)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(of(text).unwrap(), Some(wanted), "{text}");
        }
        for text in ["", "S", "1", "1s", "+1S", "-1S", "100000000S", "1.5S", "1 S"] {
            assert_eq!(of(text).unwrap_err().code, Code::InvalidArgument, "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()).unwrap(), None);
    }
}
