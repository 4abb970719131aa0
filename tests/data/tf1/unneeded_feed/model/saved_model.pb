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
shape:ÿÿÿÿÿÿÿÿÿ*
dtype0*'
_output_shapes
:ÿÿÿÿÿÿÿÿÿ
i
unusedPlaceholder*
shape:ÿÿÿÿÿÿÿÿÿ*'
_output_shapes
:ÿÿÿÿÿÿÿÿÿ*
dtype0

NoOpNoOp
?
NegNegx*
T0*'
_output_shapes
:ÿÿÿÿÿÿÿÿÿ"†*
serving_default‰

x
x:0ÿÿÿÿÿÿÿÿÿ
'
also
unused:0ÿÿÿÿÿÿÿÿÿ!
y
Neg:0ÿÿÿÿÿÿÿÿÿtensorflow/serving/predict