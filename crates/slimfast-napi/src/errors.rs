//! How an expected failure crosses: as the message of a JavaScript error, in JSON.

use slimfast_core::error::Error;

pub fn to_js(error: &Error) -> napi::Error {
    let (field, holder, syscall) = match error {
        Error::Invalid { field, .. } => (Some(*field), None, None),
        Error::Conflict { holder, .. } => (None, Some(holder.as_str()), None),
        Error::System { syscall, .. } => (None, None, Some(*syscall)),
        _ => (None, None, None),
    };
    let wire = serde_json::json!({
        "kind": kind(error),
        "message": error.to_string(),
        "field": field,
        "holder": holder,
        "syscall": syscall,
        "errno": error.errno(),
    });
    napi::Error::from_reason(wire.to_string())
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Invalid { .. } => "invalid",
        Error::Unsupported { .. } => "unsupported",
        Error::Conflict { .. } => "conflict",
        Error::NotFound { .. } => "not_found",
        Error::Closed => "closed",
        // The core's enum may grow; until this match does, a new kind is a failure of the system.
        _ => "system",
    }
}
