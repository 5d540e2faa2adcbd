//! The errors of the API and their statuses.

/// An error in AWS's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AwsError {
    pub(crate) status: u16,
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

/// Names and statuses of the errors that the API models, and of those that AWS returns for every API.
const STATUSES: [(&str, u16); 22] = [
    ("BadRequestException", 400),
    ("InternalServerErrorException", 500),
    ("PayloadTooLargeException", 413),
    ("ForbiddenException", 403),
    ("NotFoundException", 404),
    ("MethodNotAllowedException", 405),
    ("TooManyRequestsException", 429),
    ("AccessDeniedException", 403),
    ("ExpiredTokenException", 403),
    ("UnrecognizedClientException", 403),
    ("InvalidSignatureException", 403),
    ("SignatureDoesNotMatch", 403),
    ("MissingAuthenticationTokenException", 403),
    ("IncompleteSignatureException", 400),
    ("RequestExpired", 400),
    ("RequestTimeTooSkewed", 403),
    ("OptInRequired", 403),
    ("UnknownOperationException", 404),
    ("ThrottlingException", 400),
    ("InternalFailure", 500),
    ("ServiceUnavailableException", 503),
    ("RequestTimeoutException", 400),
];

/// The status of AWS's exception of this name. 400 for an unknown name.
pub(crate) fn status_of(name: &str) -> u16 {
    STATUSES.iter().find(|(known, _)| *known == name).map_or(400, |(_, status)| *status)
}

impl AwsError {
    pub(crate) fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { status: status_of(name), name, message: message.into() }
    }
}
