î
£}
.
Neg
x"T
y"T"
Ttype:

2	

NoOp
C
Placeholder
output"dtype"
dtypetype"
shapeshape:"serve*1.15.52v1.15.4-39-g3db52be¥
d
xPlaceholder*
shape:ÿÿÿÿÿÿÿÿÿ*'
_output_shapes
:ÿÿÿÿÿÿÿÿÿ*
dtype0
i
unusedPlaceholder*'
_output_shapes
:ÿÿÿÿÿÿÿÿÿ*
dtype0*
shape:ÿÿÿÿÿÿÿÿÿ

NoOpNoOp
?
NegNegx*
T0*'
_output_shapes
:ÿÿÿÿÿÿÿÿÿ"†*
serving_default‰
'
also
unused:0ÿÿÿÿÿÿÿÿÿ

x
x:0ÿÿÿÿÿÿÿÿÿ!
y
Neg:0ÿÿÿÿÿÿÿÿÿtensorflow/serving/predict