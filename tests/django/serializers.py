"""Session serializers that a site might bring along."""

import json
import pickle


class Opaque:
    """A serializer that pickles, under a name that does not mention pickle."""

    def dumps(self, value):
        return pickle.dumps(value)

    def loads(self, data):
        return pickle.loads(data)


class PickleSerializer(Opaque):
    """A serializer with pickle in its name; its output does not look like a pickle."""

    def dumps(self, value):
        return b"?" + pickle.dumps(value)


class Shouting:
    """A harmless one."""

    def dumps(self, value):
        return json.dumps(value).upper().encode()

    def loads(self, data):
        return json.loads(data)
