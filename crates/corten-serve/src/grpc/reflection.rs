//! gRPC's reflection: the descriptors of what is served here, for tools such as grpcurl.

use hyper::body::Bytes;
use prost::Message;
use tokio::sync::watch;

use super::call::Call;
use super::messages::grpc::reflection::v1::server_reflection_request::MessageRequest;
use super::messages::grpc::reflection::v1::server_reflection_response::MessageResponse;
use super::messages::grpc::reflection::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
    ServiceResponse,
};
use super::status::{Code, Status};
use super::stream;
use super::wire::{Messages, framed};
use crate::http2::{Part, Reply};
use crate::serve::until;

/// The files: name, package, service and descriptor.
const FILES: [(&str, &str, &str, &[u8]); 3] = [
    ("inference.proto", "inference", "GRPCInferenceService", include_bytes!("messages/inference.bin")),
    ("health.proto", "grpc.health.v1", "Health", include_bytes!("messages/health.bin")),
    ("reflection.proto", "grpc.reflection.v1", "ServerReflection", include_bytes!("messages/reflection.bin")),
];

/// The file that a symbol stands in.
fn containing(symbol: &str) -> Option<&'static [u8]> {
    let symbol = symbol.trim_start_matches('.');
    let (_, _, _, file) = FILES.iter().find(|(_, package, _, file)| {
        let Some(rest) = symbol.strip_prefix(package).and_then(|r| r.strip_prefix('.')) else { return false };
        let first = rest.split('.').next().unwrap_or_default();
        // The first field of a message, service or enumeration is its name.
        let mut field = vec![0x0a, first.len() as u8];
        field.extend_from_slice(first.as_bytes());
        first.len() < 128 && file.windows(field.len()).any(|w| w == field)
    })?;
    Some(file)
}

fn response(request: ServerReflectionRequest) -> ServerReflectionResponse {
    let missing = |what: &str| {
        let (error_code, error_message) = (Code::NotFound as i32, format!("there is no '{what}' here"));
        MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message })
    };
    let file = |found: Option<&'static [u8]>, what: &str| match found {
        Some(file) => MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: vec![Bytes::from_static(file)],
        }),
        None => missing(what),
    };
    let answer = match &request.message_request {
        Some(MessageRequest::ListServices(_)) => {
            let service = |f: &(&str, &str, &str, _)| ServiceResponse { name: format!("{}.{}", f.1, f.2) };
            MessageResponse::ListServicesResponse(ListServiceResponse { service: FILES.iter().map(service).collect() })
        }
        Some(MessageRequest::FileByFilename(name)) => file(FILES.iter().find(|f| f.0 == name).map(|f| f.3), name),
        Some(MessageRequest::FileContainingSymbol(symbol)) => file(containing(symbol), symbol),
        Some(MessageRequest::FileContainingExtension(asked)) => missing(&asked.containing_type),
        Some(MessageRequest::AllExtensionNumbersOfType(name)) => missing(name),
        None => MessageResponse::ErrorResponse(ErrorResponse {
            error_code: Code::InvalidArgument as i32,
            error_message: "nothing is asked for".into(),
        }),
    };
    ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        message_response: Some(answer),
    }
}

pub(super) fn answer(mut messages: Messages, call: &Call<'_>, mut stopped: watch::Receiver<bool>) -> Reply {
    let deadline = call.deadline;
    stream::reply(|sender| async move {
        loop {
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                message = messages.next() => message?,
                () = until(&mut stopped) => return Err(stream::stopping()),
                () = late => return Err(Status::late()),
            };
            let Some(message) = message else { return Ok(()) };
            let request = ServerReflectionRequest::decode(message);
            let request = request.map_err(|e| Status::invalid(format!("no ServerReflectionRequest: {e}")))?;
            if sender.send(Part::Data(framed(&response(request)))).await.is_err() {
                return Ok(());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_found_in_their_files() {
        let found = |symbol| containing(symbol).map(<[u8]>::len);
        for symbol in
            ["inference.GRPCInferenceService", "inference.GRPCInferenceService.ModelInfer", "inference.DataType"]
        {
            assert_eq!(found(symbol), Some(FILES[0].3.len()), "{symbol}");
        }
        assert_eq!(found(".grpc.health.v1.Health"), Some(FILES[1].3.len()));
        assert_eq!(found("grpc.reflection.v1.ServerReflection"), Some(FILES[2].3.len()));
        for symbol in ["inference", "inference.", "inference.Gone", "grpc.health.v1", "", "x.y"] {
            assert_eq!(found(symbol), None, "{symbol}");
        }
    }
}
