"""The client of a served embedder, over gRPC or REST."""

from deml_tf.client.answers import Answer, Embeddings
from deml_tf.client.connection import Client

__all__ = ["Answer", "Client", "Embeddings"]
