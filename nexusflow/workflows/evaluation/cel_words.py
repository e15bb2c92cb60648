"""The words of the expression language: what can be called, and the names that no variable may take."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MACROS = frozenset({"all", "exists", "exists_one", "filter", "map", "optMap", "optFlatMap"})
"""Methods whose first argument names a variable that is bound in the other arguments."""

COMPREHENSIONS = frozenset({"all", "exists", "exists_one", "filter", "map"})
"""The macros that loop."""

FUNCTIONS = _words(
    "bool bytes double duration dyn fromJson has int matches round size string sum timestamp toJson type uint"
)
"""What is called as ``name(…)``."""

METHODS = (
    MACROS
    | _words("charAt contains endsWith format indexOf join lastIndexOf lowerAscii matches replace reverse size split")
    | _words("startsWith substring trim upperAscii")
    | _words("distinct first flatten last sort sum")
    | _words("getDate getDayOfMonth getDayOfWeek getDayOfYear getFullYear getHours getMilliseconds getMinutes getMonth")
    | _words("getSeconds hasValue or orValue value")
)
"""What is called as ``value.name(…)``."""

NAMESPACES = {
    "math": _words("abs bitAnd bitNot bitOr bitShiftLeft bitShiftRight bitXor ceil floor greatest isFinite isInf isNaN")
    | _words("least round sign sqrt trunc"),
    "base64": frozenset({"decode", "encode"}),
    "strings": frozenset({"quote"}),
    "optional": frozenset({"none", "of", "ofNonZeroValue"}),
    "cel": frozenset({"bind"}),
}
"""What is called as ``namespace.name(…)``."""

TYPES = _words("bool bytes double duration dyn int list map null_type string timestamp type uint")

KEYWORDS = _words(
    "as break const continue else false for function if import in let loop namespace null package return true "
    "var void while"
)

ROOTS = frozenset({"input", "steps", "run"})
"""What every expression sees."""

RESERVED_NAMES = KEYWORDS | TYPES | ROOTS | frozenset(NAMESPACES)
"""Names that a loop variable may not take."""
