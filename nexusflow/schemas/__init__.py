"""JSON Schemas (2020-12) that tenants write: checked, applied in linear time, sensitive values masked."""

from nexusflow.schemas.masks import MASK, mask, sensitive_leaves, sensitive_pointers
from nexusflow.schemas.rules import SchemaProblem, check_schema
from nexusflow.schemas.validation import validate, validator

__all__ = [
    "MASK",
    "SchemaProblem",
    "check_schema",
    "mask",
    "sensitive_leaves",
    "sensitive_pointers",
    "validate",
    "validator",
]
