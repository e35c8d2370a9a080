//! What is wrong with a request, and what it is answered with.
use crate::Status;

/// What is wrong with a request. After its answer the connection is closed: where a request ends is not certain any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not HTTP at all, but the first byte of a TLS handshake.
    #[error("this port speaks plain HTTP and you spoke TLS: use http:// instead of https://")]
    TlsHello,
    /// A line that ends by LF without CR.
    #[error("a line ends without CR")]
    BareLf,
    /// The request line is not a method, a target and a version with one space between each two.
    #[error("the request line is malformed")]
    RequestLine,
    /// The method is no token.
    #[error("the method is malformed")]
    Method,
    /// The target has spaces, control characters or a fragment, or is empty.
    #[error("the target is malformed")]
    Target,
    /// The target is longer than [`crate::HttpLimits::target_bytes_max`].
    #[error("the target is too long")]
    TargetLong,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("this server speaks HTTP/1.1")]
    Version,
    /// A field line that is none.
    #[error("a header field is malformed")]
    Field,
    /// A field line that goes on in the next line.
    #[error("a header field is folded over lines")]
    Folded,
    /// The head is longer than [`crate::HttpLimits::head_bytes_max`].
    #[error("the header is too long")]
    HeadLong,
    /// More fields than [`crate::HttpLimits::fields_max`].
    #[error("there are too many header fields")]
    FieldsMany,
    /// No `Host` in HTTP/1.1.
    #[error("Host is missing")]
    HostMissing,
    /// More than one `Host`.
    #[error("there is more than one Host")]
    HostTwice,
    /// A `Host` that is no host.
    #[error("Host is malformed")]
    Host,
    /// A `Content-Length` that is no whole number.
    #[error("Content-Length is malformed")]
    Length,
    /// More than one `Content-Length`.
    #[error("there is more than one Content-Length")]
    LengthTwice,
    /// `Content-Length` beside `Transfer-Encoding`.
    #[error("there are both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// A `Transfer-Encoding` other than exactly `chunked`.
    #[error("Transfer-Encoding is other than chunked")]
    Coding,
    /// More than one `Transfer-Encoding`.
    #[error("there is more than one Transfer-Encoding")]
    CodingTwice,
    /// `Transfer-Encoding` in HTTP/1.0.
    #[error("there is Transfer-Encoding in HTTP/1.0")]
    CodingIn10,
    /// An `Expect` other than `100-continue`.
    #[error("Expect is other than 100-continue")]
    Expectation,
    /// A chunk that is none.
    #[error("a chunk is malformed")]
    Chunk,
    /// The head did not come whole within [`crate::HttpLimits::head_time`].
    #[error("the request took too long")]
    HeadSlow,
    /// The body came slower than [`crate::HttpLimits::body_rate_min`].
    #[error("the body took too long")]
    BodySlow,
    /// Nobody answered within [`crate::HttpLimits::answer_time`].
    #[error("there is no answer in time")]
    AnswerSlow,
    /// The application could not answer.
    #[error("there is no answer")]
    Broken,
    /// The body is longer than what is taken here.
    #[error("the body is too long")]
    BodyLong,
}

impl Fault {
    /// The status that tells it.
    pub fn status(self) -> Status {
        match self {
            Self::TargetLong => Status::URI_TOO_LONG,
            Self::HeadLong | Self::FieldsMany => Status::FIELDS_TOO_LARGE,
            Self::Version => Status::VERSION_NOT_SUPPORTED,
            Self::Coding => Status::NOT_IMPLEMENTED,
            Self::Expectation => Status::EXPECTATION_FAILED,
            Self::HeadSlow | Self::BodySlow => Status::REQUEST_TIMEOUT,
            Self::AnswerSlow => Status::SERVICE_UNAVAILABLE,
            Self::Broken => Status::INTERNAL_SERVER_ERROR,
            Self::BodyLong => Status::CONTENT_TOO_LARGE,
            Self::TlsHello
            | Self::BareLf
            | Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::Field
            | Self::Folded
            | Self::HostMissing
            | Self::HostTwice
            | Self::Host
            | Self::Length
            | Self::LengthTwice
            | Self::LengthAndCoding
            | Self::CodingTwice
            | Self::CodingIn10
            | Self::Chunk => Status::BAD_REQUEST,
        }
    }
}
