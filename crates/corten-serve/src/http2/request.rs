//! What a call's header fields ask for.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::hpack::Fields;

/// A call as its head tells it.
pub(crate) struct Request {
    pub(crate) posted: bool,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

/// What is told apart without a table of fields.
#[derive(Default)]
pub(crate) struct Known<'f> {
    method: Option<&'f [u8]>,
    scheme: Option<&'f [u8]>,
    path: Option<&'f [u8]>,
    authority: Option<&'f [u8]>,
    pub(crate) kind: Option<&'f [u8]>,
    pub(crate) id: Option<&'f [u8]>,
    /// Bytes that the body is said to have.
    pub(super) length: Option<u64>,
}

impl<'f> Known<'f> {
    pub(crate) fn path(&self) -> &'f [u8] {
        self.path.unwrap_or_default()
    }

    pub(crate) fn is_posted(&self) -> bool {
        self.method == Some(b"POST")
    }

    /// Checks fields as RFC 9113 (section 8) asks for; none where they are no request.
    pub(super) fn of(fields: &'f Fields) -> Option<Self> {
        let mut known = Self::default();
        let mut regular = false;
        for (name, value) in fields.iter() {
            if name.first() == Some(&b':') {
                let place = match name {
                    b":method" => &mut known.method,
                    b":scheme" => &mut known.scheme,
                    b":path" => &mut known.path,
                    b":authority" => &mut known.authority,
                    _ => return None,
                };
                if regular || place.replace(value).is_some() {
                    return None;
                }
                continue;
            }
            regular = true;
            match name {
                b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => return None,
                b"te" if value != b"trailers" => return None,
                b"content-type" => known.kind = Some(value),
                b"x-request-id" => known.id = known.id.or(Some(value)),
                b"content-length" => {
                    let digits = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
                    let length = digits.and_then(|d| d.parse().ok())?;
                    if known.length.replace(length).is_some_and(|before| before != length) {
                        return None;
                    }
                }
                _ if name.iter().any(u8::is_ascii_uppercase) => return None,
                _ => {}
            }
        }
        let told = known.method.is_some() && known.scheme.is_some() && known.path.is_some_and(|p| !p.is_empty());
        told.then_some(known)
    }

    /// The request; none for a field that is none, and for a path that is no text.
    pub(super) fn request(&self, fields: &Fields) -> Option<Request> {
        let mut headers = HeaderMap::with_capacity(16);
        for (name, value) in fields.iter().filter(|(name, _)| name.first() != Some(&b':')) {
            headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        let path = self.path().split(|&b| b == b'?').next().unwrap_or_default();
        Some(Request { posted: self.is_posted(), path: String::from_utf8(path.to_vec()).ok()?, headers })
    }
}
