//! The codes of every error a user can cause, shared by GraphQL, Events and metrics.

/// Says what kind of error it was, in the words of `errors[].extensions.code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The GraphQL document does not parse.
    GraphqlParseFailed,
    /// The GraphQL document does not fit the schema.
    GraphqlValidationFailed,
    /// A value given by the caller is wrong; the same call fails again.
    BadUserInput,
    /// What was named does not exist.
    NotFound,
    /// What was asked contradicts what is there.
    Conflict,
    /// A limit on size, depth or number was passed.
    LimitExceeded,
    /// A part of the contract that is not built yet.
    NotImplemented,
    /// It is not known who calls.
    Unauthenticated,
    /// The identity behind the call may not do this.
    Forbidden,
    /// Kubernetes, Velero or the object store did not answer or refused.
    UpstreamUnavailable,
    /// A defect of ours.
    Internal,
}

impl Code {
    /// Names the code as clients, Events and metric labels carry it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}
