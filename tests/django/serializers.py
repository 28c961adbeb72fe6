"""Session serializers that a site might bring along."""

import json
import pickle


class Opaque:
    """One that pickles and whose name does not say so."""

    def dumps(self, value):
        return pickle.dumps(value)

    def loads(self, data):
        return pickle.loads(data)


class PickleSerializer(Opaque):
    """One whose name says it, while its output does not look it."""

    def dumps(self, value):
        return b"?" + pickle.dumps(value)


class Shouting:
    """A harmless one."""

    def dumps(self, value):
        return json.dumps(value).upper().encode()

    def loads(self, data):
        return json.loads(data)
