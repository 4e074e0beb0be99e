"""How Google's services refuse, for fake_gcp.py."""

CODES = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401,
         "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429}


class Refused(Exception):
    """By a Google API."""

    def __init__(self, status, message, reason=None):
        super().__init__(message)
        error = {"code": CODES[status], "message": message, "status": status}
        if reason is not None:
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                                 "reason": reason, "domain": "googleapis.com"}]
        self.code = CODES[status]
        self.body = {"error": error}


class Unauthorised(Exception):
    """By a token endpoint (RFC 6749, 5.2)."""

    def __init__(self, error, description, code=400):
        super().__init__(description)
        self.code = code
        self.body = {"error": error, "error_description": description}
