//! The closed list of exception labels under which failed calls are counted.

use serde::{Serialize, Serializer};

macro_rules! exceptions {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The label under which a failure is counted: AWS's exception type if there is one. The list is closed, so that every
        /// series exists from the start.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Exception { $($(#[$doc])* $name),* }

        impl Exception {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

exceptions! {
    // Exceptions that the API's model lists for its operations.
    BadRequestException,
    InternalServerErrorException,
    PayloadTooLargeException,
    ForbiddenException,
    NotFoundException,
    MethodNotAllowedException,
    TooManyRequestsException,
    // Common errors of AWS services: https://docs.aws.amazon.com/general/latest/gr/CommonErrors.html
    AccessDeniedException,
    ExpiredTokenException,
    UnrecognizedClientException,
    InvalidSignatureException,
    SignatureDoesNotMatch,
    MissingAuthenticationTokenException,
    IncompleteSignatureException,
    RequestExpired,
    RequestTimeTooSkewed,
    OptInRequired,
    UnknownOperationException,
    ThrottlingException,
    InternalFailure,
    ServiceUnavailableException,
    /// No response in time, for one attempt or for a whole refresh.
    Timeout,
    /// No connection, or a connection that broke before the response was complete.
    ConnectionError,
    /// The certificate or the handshake was refused by either side.
    TlsError,
    /// The response does not match the operation, or only part of it can be used.
    InvalidResponse,
    /// No credentials to sign with.
    CredentialsError,
    /// Any other failure.
    Other,
}

impl Serialize for Exception {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl Exception {
    /// The label for an exception name from AWS. The ending `Exception` makes no difference. Returns [`Exception::Other`] for a
    /// name outside the list, and for a label that only the exporter itself assigns.
    pub(crate) fn from_name(name: &str) -> Self {
        fn stem(name: &str) -> &str {
            name.strip_suffix("Exception").unwrap_or(name)
        }
        Self::ALL
            .iter()
            .copied()
            .filter(|exception| !exception.is_ours())
            .find(|exception| stem(exception.name()) == stem(name))
            .unwrap_or(Self::Other)
    }

    /// The label for a response that has no exception name.
    pub(crate) const fn from_status(status: u16) -> Self {
        match status {
            400 => Self::BadRequestException,
            403 => Self::ForbiddenException,
            404 => Self::NotFoundException,
            405 => Self::MethodNotAllowedException,
            413 => Self::PayloadTooLargeException,
            429 => Self::TooManyRequestsException,
            503 => Self::ServiceUnavailableException,
            500..=599 => Self::InternalServerErrorException,
            _ => Self::Other,
        }
    }

    /// Whether the exporter assigns this label itself, instead of AWS.
    const fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::ConnectionError
                | Self::TlsError
                | Self::InvalidResponse
                | Self::CredentialsError
                | Self::Other
        )
    }

    /// Whether a wrong clock can cause this exception.
    pub(crate) const fn may_be_clock_skew(self) -> bool {
        matches!(
            self,
            Self::InvalidSignatureException
                | Self::SignatureDoesNotMatch
                | Self::RequestTimeTooSkewed
                | Self::RequestExpired
                | Self::AccessDeniedException
        )
    }

    /// What an operator can do about this exception.
    pub(crate) const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::ForbiddenException | Self::AccessDeniedException => {
                "allow the IAM action on this resource (pinpoint-exporter check prints the policy); \
                 if it is allowed, AWS may have ended Pinpoint for the account"
            }
            Self::NotFoundException => "check the ids, the region and the account of the target",
            Self::UnrecognizedClientException
            | Self::InvalidSignatureException
            | Self::SignatureDoesNotMatch
            | Self::MissingAuthenticationTokenException
            | Self::IncompleteSignatureException => {
                "check the access key, its secret and session token, and proxies that change requests"
            }
            Self::ExpiredTokenException => "renew the credentials at their source",
            Self::OptInRequired => "enable the region and Amazon Pinpoint for the account",
            Self::RequestExpired | Self::RequestTimeTooSkewed => "check the clock of this machine",
            Self::TooManyRequestsException | Self::ThrottlingException => {
                "lower PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND or raise PINPOINT_EXPORTER_CACHE_TTL"
            }
            Self::InvalidResponse => "check the endpoint URL and the proxies",
            _ => return None,
        })
    }
}
