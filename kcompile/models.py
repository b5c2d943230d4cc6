"""`keras.models`: the public names."""

from kcompile.model import Functional as Functional
from kcompile.model import Model as Model
from kcompile.model import clone_model as clone_model
from kcompile.model import model_from_json as model_from_json
from kcompile.saving import load_model as load_model
from kcompile.saving import save_model as save_model
from kcompile.sequential import Sequential as Sequential
