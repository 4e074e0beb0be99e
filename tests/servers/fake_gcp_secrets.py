"""Google Secret Manager, for fake_gcp.py, where its commands are told."""
import base64
import re

import google_crc32c

from fake_gcp_errors import Refused

PROJECT = "good-project"
PROJECT_NUMBER = "123456789012"


class SecretManager:
    """A part of FakeGcp, whose state and callers it uses."""

    def secret_manager(self, request):
        """Of what the service does for secrets, access to a version."""
        found = re.fullmatch(r"/v1/projects/([^/]+)/secrets/([^/]+)/versions/([^/:]+):access",
                             request.path)
        self.last = {"path": request.path, "headers": request.headers, "request": None}
        if found is None or request.method != "GET":
            raise Refused("NOT_FOUND", "The requested URL was not found on this server.")
        project, name, wanted = found.groups()
        secret = f"projects/{PROJECT_NUMBER}/secrets/{name}"
        self.authorise(request, "access", "secretmanager.versions.access",
                       f"{secret}/versions/{wanted}", ())
        if project not in (PROJECT, PROJECT_NUMBER):
            raise Refused("PERMISSION_DENIED", "Permission 'secretmanager.versions.access' denied "
                          f"for resource 'projects/{project}/secrets/{name}/versions/{wanted}' (or "
                          "it may not exist).", "IAM_PERMISSION_DENIED")
        versions = self.state.secrets.get(name)
        if versions is None:
            raise Refused("NOT_FOUND", f"Secret [{secret}] not found or has no versions.")
        if wanted != "latest" and not wanted.isdigit():
            raise Refused("INVALID_ARGUMENT", "Resource ID is malformed.")
        number = len(versions) if wanted == "latest" else int(wanted)
        if not 1 <= number <= len(versions):
            raise Refused("NOT_FOUND", f"Secret Version [{secret}/versions/{number}] not found.")
        data, state = versions[number - 1]
        if state != "ENABLED":
            raise Refused("FAILED_PRECONDITION",
                          f"Secret Version [{secret}/versions/{number}] is in {state} state.")
        payload = {"data": data,
                   "dataCrc32c": str(google_crc32c.value(base64.b64decode(data, validate=True)))}
        payload.update(self.state.alterations)
        answer = {"name": payload.pop("secret", f"{secret}/versions/{number}")}
        payload = {member: value for member, value in payload.items() if value is not None}
        return answer | {"payload": payload}

    def control_secret(self, command):
        versions = self.state.secrets.setdefault(command["name"], [])
        versions.append((command["data"], "ENABLED"))

    def control_secret_state(self, command):
        if command["state"] is None:
            del self.state.secrets[command["name"]]
            return
        self.state.secrets[command["name"]] = [
            (data, command["state"]) for data, _ in self.state.secrets[command["name"]]]
