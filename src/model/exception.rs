//! The closed list of exceptions that failed calls are counted under.

use serde::{Serialize, Serializer};

/// Declares the closed list of exception labels.
macro_rules! exceptions {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The label under which a failure is counted: AWS's exception type where there is one. A closed list, so that
        /// every series exists from the start.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Exception { $($(#[$doc])* $name),* }

        impl Exception {
            /// Every label.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The label's text.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

exceptions! {
    // Those that the API's model lists for its operations.
    BadRequestException,
    InternalServerErrorException,
    PayloadTooLargeException,
    ForbiddenException,
    NotFoundException,
    MethodNotAllowedException,
    TooManyRequestsException,
    // Those of AWS's front door: https://docs.aws.amazon.com/general/latest/gr/CommonErrors.html
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
    /// No answer in time: of one attempt, or of a whole refresh.
    Timeout,
    /// No connection, or one that broke before the answer was whole.
    ConnectionError,
    /// A certificate or a handshake was refused, by either side.
    TlsError,
    /// An answer that is not what the operation answers, or is of use only in part.
    InvalidResponse,
    /// No credentials to sign with.
    CredentialsError,
    /// Everything else.
    Other,
}

impl Serialize for Exception {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl Exception {
    /// The label of a name that AWS gave. A name with or without the ending `Exception` is the same one; one outside the
    /// list, and one of those that no answer of AWS's means, is [`Exception::Other`].
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

    /// The label of an answer that gives no name.
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

    /// Whether the exporter itself gave the name.
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

    /// Whether the clock may be what was wrong with the request.
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

    /// What an operator can do about it.
    pub(crate) const fn cure(self) -> Option<&'static str> {
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
