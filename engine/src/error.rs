//! The engine's error: what a client is told, in PostgreSQL's vocabulary.
//!
//! A struct rather than an enum of variants, because PostgreSQL's conditions are a table (appendix A of its manual)
//! and every site fills the same fields; [`SqlState`] is the enum. Messages follow PostgreSQL's style: lower case, no
//! full stop, objects in double quotes; detail and hint are sentences.

use std::fmt;

/// Result of everything in the engine that a client can cause to fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! sql_states {
    ($($name:ident = $code:literal),* $(,)?) => {
        /// SQLSTATE conditions that Lockstep reports (PostgreSQL 15 manual, appendix A).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SqlState { $($name),* }

        impl SqlState {
            /// The five characters of the condition.
            pub fn code(self) -> &'static str {
                match self { $(SqlState::$name => $code),* }
            }
        }
    };
}

sql_states! {
    SuccessfulCompletion = "00000",
    Warning = "01000",
    PrivilegeNotRevoked = "01006",
    PrivilegeNotGranted = "01007",
    NoData = "02000",
    ConnectionException = "08000",
    ConnectionDoesNotExist = "08003",
    ConnectionFailure = "08006",
    TransactionResolutionUnknown = "08007",
    ProtocolViolation = "08P01",
    FeatureNotSupported = "0A000",
    InvalidGrantor = "0L000",
    InvalidGrantOperation = "0LP01",
    CardinalityViolation = "21000",
    DataException = "22000",
    StringDataRightTruncation = "22001",
    NumericValueOutOfRange = "22003",
    NullValueNotAllowed = "22004",
    InvalidDatetimeFormat = "22007",
    DatetimeFieldOverflow = "22008",
    InvalidTimeZoneDisplacement = "22009",
    SubstringError = "22011",
    DivisionByZero = "22012",
    InvalidPrecedingOrFollowingSize = "22013",
    InvalidArgumentForNtile = "22014",
    IntervalFieldOverflow = "22015",
    InvalidArgumentForNthValue = "22016",
    InvalidArgumentForLogarithm = "2201E",
    InvalidArgumentForPowerFunction = "2201F",
    InvalidArgumentForWidthBucket = "2201G",
    InvalidRowCountInLimitClause = "2201W",
    InvalidRowCountInOffsetClause = "2201X",
    InvalidRegularExpression = "2201B",
    CharacterNotInRepertoire = "22021",
    InvalidParameterValue = "22023",
    InvalidEscapeSequence = "22025",
    StringDataLengthMismatch = "22026",
    ArraySubscriptError = "2202E",
    DuplicateJsonObjectKey = "22030",
    InvalidArgumentForJsonDatetime = "22031",
    InvalidJsonText = "22032",
    InvalidJsonSubscript = "22033",
    MoreThanOneJsonItem = "22034",
    NoJsonItem = "22035",
    NonNumericJsonItem = "22036",
    SingletonJsonItemRequired = "22038",
    JsonArrayNotFound = "22039",
    JsonMemberNotFound = "2203A",
    JsonNumberNotFound = "2203B",
    JsonObjectNotFound = "2203C",
    JsonScalarRequired = "2203F",
    InvalidTablesampleRepeat = "2202G",
    InvalidTablesampleArgument = "2202H",
    InvalidUseOfEscapeCharacter = "2200C",
    InvalidTextRepresentation = "22P02",
    InvalidBinaryRepresentation = "22P03",
    BadCopyFileFormat = "22P04",
    UntranslatableCharacter = "22P05",
    SequenceGeneratorLimitExceeded = "2200H",
    IntegrityConstraintViolation = "23000",
    RestrictViolation = "23001",
    NotNullViolation = "23502",
    ForeignKeyViolation = "23503",
    UniqueViolation = "23505",
    CheckViolation = "23514",
    InvalidCursorState = "24000",
    InvalidTransactionState = "25000",
    ActiveSqlTransaction = "25001",
    ReadOnlySqlTransaction = "25006",
    NoActiveSqlTransaction = "25P01",
    InFailedSqlTransaction = "25P02",
    IdleInTransactionSessionTimeout = "25P03",
    IdleSessionTimeout = "57P05",
    InvalidSqlStatementName = "26000",
    InvalidAuthorizationSpecification = "28000",
    InvalidPassword = "28P01",
    DependentObjectsStillExist = "2BP01",
    InvalidCursorName = "34000",
    InvalidSavepointSpecification = "3B001",
    InvalidCatalogName = "3D000",
    ExternalRoutineInvocationException = "39000",
    InvalidSchemaName = "3F000",
    TransactionRollback = "40000",
    SerializationFailure = "40001",
    StatementCompletionUnknown = "40003",
    DeadlockDetected = "40P01",
    SyntaxErrorOrAccessRuleViolation = "42000",
    InsufficientPrivilege = "42501",
    SyntaxError = "42601",
    InvalidName = "42602",
    InvalidColumnDefinition = "42611",
    NameTooLong = "42622",
    DuplicateColumn = "42701",
    AmbiguousColumn = "42702",
    UndefinedColumn = "42703",
    UndefinedObject = "42704",
    DuplicateObject = "42710",
    DuplicateAlias = "42712",
    DuplicateFunction = "42723",
    AmbiguousFunction = "42725",
    GroupingError = "42803",
    DatatypeMismatch = "42804",
    WrongObjectType = "42809",
    InvalidForeignKey = "42830",
    CannotCoerce = "42846",
    UndefinedFunction = "42883",
    GeneratedAlways = "428C9",
    ReservedName = "42939",
    UndefinedTable = "42P01",
    UndefinedParameter = "42P02",
    DuplicateCursor = "42P03",
    DuplicateDatabase = "42P04",
    DuplicatePreparedStatement = "42P05",
    DuplicateSchema = "42P06",
    DuplicateTable = "42P07",
    AmbiguousParameter = "42P08",
    InvalidColumnReference = "42P10",
    InvalidCursorDefinition = "42P11",
    InvalidFunctionDefinition = "42P13",
    InvalidSchemaDefinition = "42P15",
    InvalidTableDefinition = "42P16",
    InvalidObjectDefinition = "42P17",
    IndeterminateDatatype = "42P18",
    WindowingError = "42P20",
    InvalidRecursion = "42P19",
    CollationMismatch = "42P21",
    IndeterminateCollation = "42P22",
    WithCheckOptionViolation = "44000",
    InsufficientResources = "53000",
    DiskFull = "53100",
    OutOfMemory = "53200",
    TooManyConnections = "53300",
    ProgramLimitExceeded = "54000",
    StatementTooComplex = "54001",
    TooManyColumns = "54011",
    TooManyArguments = "54023",
    ObjectNotInPrerequisiteState = "55000",
    ObjectInUse = "55006",
    CantChangeRuntimeParam = "55P02",
    LockNotAvailable = "55P03",
    QueryCanceled = "57014",
    AdminShutdown = "57P01",
    CrashShutdown = "57P02",
    CannotConnectNow = "57P03",
    IoError = "58030",
    UndefinedFile = "58P01",
    InternalError = "XX000",
    DataCorrupted = "XX001",
}

/// One error as a client sees it. Boxed so that `Result` stays small on the hot path.
#[derive(Debug, Clone)]
pub struct Error(Box<Report>);

/// The fields of an ErrorResponse or NoticeResponse (protocol manual, "Error and Notice Message Fields").
#[derive(Debug, Clone)]
pub struct Report {
    pub state: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Cursor position in the statement text, in characters, counted from 1.
    pub position: Option<u32>,
    /// Context, as in "COPY t, line 3, column a".
    pub context: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub data_type: Option<String>,
    pub constraint: Option<String>,
    /// PostgreSQL's own routine, where a driver goes by its name.
    pub routine: Option<&'static str>,
}

const LEADERSHIP_LOST: &str = "could not complete the transaction: this node is no longer the primary";

impl Error {
    /// The transaction cannot go on, and certainly nothing of it was committed: this node is no longer the primary.
    pub fn leadership_lost() -> Self {
        Error::new(SqlState::SerializationFailure, LEADERSHIP_LOST)
            .detail("Nothing of the transaction was committed.")
            .hint("Connect to the primary and retry the transaction.")
    }

    pub fn is_leadership_lost(&self) -> bool {
        self.0.state == SqlState::SerializationFailure && self.0.message == LEADERSHIP_LOST
    }

    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Error(Box::new(Report {
            state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            data_type: None,
            constraint: None,
            routine: None,
        }))
    }

    /// 0A000: `what` reads like "cursors WITH HOLD"; the message says that it is not supported.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(SqlState::FeatureNotSupported, format!("{what} is not supported"))
    }

    /// XX000: our bug.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::InternalError, message)
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Without a place in the statement.
    pub fn nowhere(mut self) -> Self {
        self.0.position = None;
        self
    }

    /// [`Self::detail`] where there is one.
    pub fn details(mut self, detail: Option<String>) -> Self {
        self.0.detail = detail;
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Position in characters from 1.
    pub fn at(mut self, position: u32) -> Self {
        self.0.position.get_or_insert(position);
        self
    }

    /// Without a position.
    pub fn unlocated(mut self) -> Self {
        self.0.position = None;
        self
    }

    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    pub fn table(mut self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        self.0.schema = Some(schema.into());
        self.0.table = Some(table.into());
        self
    }

    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.0.schema = Some(schema.into());
        self
    }

    pub fn data_type(mut self, data_type: impl Into<String>) -> Self {
        self.0.data_type = Some(data_type.into());
        self
    }

    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.0.constraint = Some(constraint.into());
        self
    }

    pub fn routine(mut self, routine: &'static str) -> Self {
        self.0.routine = Some(routine);
        self
    }

    pub fn state(&self) -> SqlState {
        self.0.state
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn report(&self) -> &Report {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.state.code(), self.0.message)
    }
}

impl std::error::Error for Error {}

/// Severity of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeLevel {
    Debug,
    Log,
    Info,
    Notice,
    Warning,
}

/// A message to the client that does not end its statement.
#[derive(Debug, Clone)]
pub struct Notice {
    pub level: NoticeLevel,
    pub report: Error,
}
