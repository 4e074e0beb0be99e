"""Kubernetes' TokenReview for fake_service.py, as far as Vault's kubernetes method asks it.

    fake_service.py --handler fake_kubernetes:FakeKubernetes

Who asks must show the reviewer's token. A token is authentic when it was admitted:

    {"do": "handler", "what": "reviewer", "token": T}
    {"do": "handler", "what": "admit", "token": T, "namespace": N, "name": S, "uid": U}
    {"do": "handler", "what": "expel"}             all of them
"""
import json

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


class FakeKubernetes:
    def __init__(self, _options):
        self.reviewer = None
        self.accounts = {}

    def handle(self, request):
        status, answer = self._answer(request)
        return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _answer(self, request):
        if (request.method, request.path) != ("POST", PATH):
            return 404, self._status(404, "NotFound")
        if request.headers.get("authorization") != f"Bearer {self.reviewer}":
            return 401, self._status(401, "Unauthorized")
        review = json.loads(request.body)
        account = self.accounts.get(review["spec"]["token"])
        if account is None:
            review["status"] = {"authenticated": False, "error": "invalid bearer token"}
        else:
            groups = ["system:serviceaccounts", "system:authenticated"]
            review["status"] = {"authenticated": True, "user": {**account, "groups": groups},
                                "audiences": review["spec"].get("audiences", [])}
        return 201, review

    def _status(self, code, reason):
        return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
                "code": code}

    def control(self, command):
        return getattr(self, "control_" + command["what"])(command) or {}

    def control_reviewer(self, command):
        self.reviewer = command["token"]

    def control_admit(self, command):
        user = f"system:serviceaccount:{command['namespace']}:{command['name']}"
        self.accounts[command["token"]] = {"username": user, "uid": command["uid"]}

    def control_expel(self, _command):
        self.accounts.clear()
