//! What can go wrong with a request, in Heroku's words: operators know `code=H12`.

use hyper::StatusCode;

/// What went wrong with a request (Heroku's error codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// Too many requests wait for a target.
    H11,
    /// No head of an answer in time.
    H12,
    /// The connection was closed without an answer.
    H13,
    /// No process that could answer, and none is expected.
    H14,
    /// An answer stood still too long.
    H15,
    /// The answer is not HTTP.
    H17,
    /// The connection was closed within the answer.
    H18,
    /// The connection could not be made in time.
    H19,
    /// A process was expected, and did not come in time.
    H20,
    /// The connection was refused.
    H21,
    /// It was still in flight when its target's time was over.
    H24,
    /// The answer could be read in two ways.
    H25,
    /// The request is none that may be passed on.
    H26,
    /// The client went away before the answer's end.
    H27,
    /// The client took too long to send its request.
    H28,
    /// `slug maintenance on`.
    H80,
    /// The router itself failed.
    H99,
}

/// All of them: code, description and status, for the page that lists them.
pub fn codes() -> Vec<(String, &'static str, u16)> {
    let all = [
        Code::H11,
        Code::H12,
        Code::H13,
        Code::H14,
        Code::H15,
        Code::H17,
        Code::H18,
        Code::H19,
        Code::H20,
        Code::H21,
        Code::H24,
        Code::H25,
        Code::H26,
        Code::H27,
        Code::H28,
        Code::H80,
        Code::H99,
    ];
    let shown = all.map(|code| {
        (
            format!("{code:?}"),
            code.description(),
            code.status().as_u16(),
        )
    });
    shown.into()
}

impl Code {
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::H11 => "Backlog too deep",
            Self::H12 => "Request timeout",
            Self::H13 => "Connection closed without response",
            Self::H14 => "No web processes running",
            Self::H15 => "Idle connection",
            Self::H17 => "Poorly formatted HTTP response",
            Self::H18 => "Server request interrupted",
            Self::H19 => "Backend connection timeout",
            Self::H20 => "App boot timeout",
            Self::H21 => "Backend connection refused",
            Self::H24 => "Forced close",
            Self::H25 => "HTTP restriction",
            Self::H26 => "Request error",
            Self::H27 => "Client request interrupted",
            Self::H28 => "Client connection idle",
            Self::H80 => "Maintenance mode",
            Self::H99 => "Platform error",
        }
    }

    /// What a client is told that gets no answer of the app (RFC 9110, 15.5 and 15.6).
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::H11 | Self::H14 | Self::H20 | Self::H21 | Self::H80 => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::H12 | Self::H15 | Self::H19 | Self::H24 => StatusCode::GATEWAY_TIMEOUT,
            Self::H13 | Self::H17 | Self::H18 | Self::H25 => StatusCode::BAD_GATEWAY,
            Self::H26 | Self::H27 => StatusCode::BAD_REQUEST,
            Self::H28 => StatusCode::REQUEST_TIMEOUT,
            Self::H99 => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
