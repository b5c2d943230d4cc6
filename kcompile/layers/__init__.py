"""The layers of Keras 3 under their public names; each module is imported when one of its names is asked for."""

import kcompile.later as later

_HOMES = {
    "kcompile.input_layer": "Input InputLayer",
    "kcompile.input_spec": "InputSpec",
    "kcompile.layer": "Layer",
    "kcompile.layers.activation": "ELU Activation LeakyReLU PReLU ReLU Softmax",
    "kcompile.layers.attention": "GroupedQueryAttention GroupQueryAttention MultiHeadAttention",
    "kcompile.layers.augmentation": (
        "RandomBrightness RandomContrast RandomFlip RandomRotation RandomTranslation RandomZoom"
    ),
    "kcompile.layers.batch_normalization": "BatchNormalization",
    "kcompile.layers.categories": "CategoryEncoding",
    "kcompile.layers.cells": "SimpleRNNCell",
    "kcompile.layers.convolution": (
        "Conv1D Convolution1D=Conv1D Conv1DTranspose Convolution1DTranspose=Conv1DTranspose "
        "Conv2D Convolution2D=Conv2D Conv2DTranspose Convolution2DTranspose=Conv2DTranspose "
        "Conv3D Convolution3D=Conv3D Conv3DTranspose Convolution3DTranspose=Conv3DTranspose"
    ),
    "kcompile.layers.core": "Dense Embedding Identity Lambda Masking Wrapper",
    "kcompile.layers.dot_attention": "AdditiveAttention Attention",
    "kcompile.layers.einsum_dense": "EinsumDense",
    "kcompile.layers.gated_cells": "GRUCell LSTMCell",
    "kcompile.layers.images": "CenterCrop Resizing",
    "kcompile.layers.merging": (
        "Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average "
        "concatenate dot maximum minimum multiply subtract"
    ),
    "kcompile.layers.normalization": (
        "GroupNormalization LayerNormalization RMSNormalization UnitNormalization"
    ),
    "kcompile.layers.pooling": (
        "AveragePooling1D AvgPool1D=AveragePooling1D AveragePooling2D "
        "AvgPool2D=AveragePooling2D AveragePooling3D AvgPool3D=AveragePooling3D "
        "GlobalAveragePooling1D GlobalAvgPool1D=GlobalAveragePooling1D GlobalAveragePooling2D "
        "GlobalAvgPool2D=GlobalAveragePooling2D GlobalAveragePooling3D "
        "GlobalAvgPool3D=GlobalAveragePooling3D GlobalMaxPool1D=GlobalMaxPooling1D "
        "GlobalMaxPooling1D GlobalMaxPool2D=GlobalMaxPooling2D GlobalMaxPooling2D "
        "GlobalMaxPool3D=GlobalMaxPooling3D GlobalMaxPooling3D MaxPool1D=MaxPooling1D "
        "MaxPooling1D MaxPool2D=MaxPooling2D MaxPooling2D MaxPool3D=MaxPooling3D MaxPooling3D"
    ),
    "kcompile.layers.preprocessing": "Normalization Rescaling",
    "kcompile.layers.recurrent": "GRU LSTM SimpleRNN",
    "kcompile.layers.regularization": (
        "ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise "
        "SpatialDropout1D SpatialDropout2D SpatialDropout3D"
    ),
    "kcompile.layers.reshaping": "Flatten Permute RepeatVector Reshape",
    "kcompile.layers.resizing": (
        "Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D "
        "ZeroPadding1D ZeroPadding2D ZeroPadding3D"
    ),
    "kcompile.layers.rnn": "RNN",
    "kcompile.layers.separable": (
        "DepthwiseConv1D DepthwiseConv2D SeparableConv1D "
        "SeparableConvolution1D=SeparableConv1D SeparableConv2D "
        "SeparableConvolution2D=SeparableConv2D"
    ),
    "kcompile.layers.stacked_cells": "StackedRNNCells",
    "kcompile.layers.wrappers": "Bidirectional TimeDistributed",
    "kcompile.serialization": (
        "deserialize=deserialize_keras_object serialize=serialize_keras_object"
    ),
}
__all__ = later.public(_HOMES)
__getattr__ = later.names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
