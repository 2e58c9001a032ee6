"""The client of a served embedder, over gRPC or REST."""

from deml_tf.serving.client.answers import Answer, Embeddings
from deml_tf.serving.client.client import Client

__all__ = ["Answer", "Client", "Embeddings"]
